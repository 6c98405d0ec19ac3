"""Run folders that an earlier qprune wrote: they still load, repeat to the same masks and quality, and are compared.

``runs/`` holds what these commands left with version 0.1.0, one thread, without the files that no test needs:

    qprune run experiment=smoke data.crops=4 data.crop_size=32 finetune=distill finetune.features=0.1 finetune.steps=8 finetune.batch=2
        finetune.crop=16 finetune.validate_every=2 finetune.patience=0 rounds=2 sparsity=0.7 refine=descent refine.evaluations=12 fidelity=6
    qprune run data=digits data.test_images=40 model=mlp model.weights=mlp_digits solver=mip scorer.images=10 fidelity=6
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import qprune_cli as qp
from qprune_cli import cli

RUNS = Path(__file__).parent / "runs"


@pytest.fixture(params=["denoiser", "classifier"])
def old(request):
    return RUNS / request.param


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_an_old_run_is_loaded(old):
    run = qp.load_run(old)
    assert np.array_equal(run.keep, np.load(old / "mask.npz")["keep"])
    with torch.no_grad():
        assert torch.isfinite(run.model(torch.zeros(run.plan["shape"]))).all()
    assert sum(p.numel() for p in run.model.parameters()) == metrics_of(old)["stages"]["compensated"]["params"]


@pytest.mark.slow
def test_an_old_run_is_repeated_to_the_same_mask_and_quality(old, tmp_path):
    assert cli.dispatch(["run", "--from", str(old), f"output_root={tmp_path}"]) == 0
    (new,) = (tmp_path / "runs").iterdir()
    before, after = (np.load(folder / "mask.npz")["keep"] for folder in (old, new))
    # Another processor rounds differently: a tie may fall to the other side there. On the machine that made them all are the same.
    assert before.sum() == after.sum() and (before == after).mean() > 0.9
    first, second = (metrics_of(folder) for folder in (old, new))
    assert first.keys() == second.keys() and first["stages"].keys() == second["stages"].keys()
    assert list(first["sparsity"].values()) == list(second["sparsity"].values())
    for name, stage in first["stages"].items():
        assert stage.keys() == second["stages"][name].keys()
        for measure, tolerance in (("psnr", 0.05), ("ssim", 0.005), ("accuracy", 0.05)):
            if measure in stage:
                assert second["stages"][name][measure]["mean"] == pytest.approx(stage[measure]["mean"], abs=tolerance)


def test_old_runs_are_compared(capsys):
    assert cli.dispatch(["compare", str(RUNS / "denoiser")]) == 0
    assert "26.79" in capsys.readouterr().out
