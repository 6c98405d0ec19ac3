"""What is left of a method's advantage once weights are re-fitted, fine-tuned or distilled: an equal, short training for all.

    python scripts/finetuning.py --seeds 0 1 2 --json outputs/finetuning.json
    QPRUNE_REAL_DATA=FOLDER python scripts/finetuning.py --models half_unet dncnn --json outputs/finetuning.json

Every method prunes the same network on the same images; each seed draws calibration images, solver and training crops anew. The smaller
networks train on from their re-fitted weights, all with the same crops, with and without the dense network as the teacher; so does the
dense network. With a folder of real photographs (sidd_native in it) all are tested on 128 x 128 pixels of each of its SIDD blocks as well.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from baselines import data_overrides, interval
from tqdm import tqdm

from qprune_cli.cache.shared import Shared
from qprune_cli.cache.store import Store
from qprune_cli.clock import Clock
from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.cost.cost import footprint_of
from qprune_cli.device import pick_device
from qprune_cli.evaluate.interval import ci95
from qprune_cli.evaluate.masked import shrunk
from qprune_cli.evaluate.quality import mean_measure, psnrs
from qprune_cli.run.finetuning import Trainings
from qprune_cli.run.job import prepare
from qprune_cli.run.observer import NoFiles
from qprune_cli.run.plan import RunPlan
from qprune_cli.run.rounds import select
from qprune_cli.types import ImageSet

SPARSITIES = (0.5, 0.65)
REFERENCE = "greedy_taylor"
METHODS = {
    REFERENCE: ["solver=greedy_taylor"],
    "hybrid_qubo": ["solver=hybrid_qubo"],
    "gram": ["scorer=gram", "solver=swap"],
    "random": ["solver=random"],
    "leave_one_out": ["scorer=leave_one_out", "solver=greedy"],
}
KINDS = ("adam", "distill")
STAGES = ("raw", "re-fitted", *KINDS)
SCALES = {
    "tiny": ["data.crops=8", "data.crop_size=48", "finetune.steps=4", "finetune.batch=2", "finetune.validate_every=2"],
    "cpu": ["finetune.steps=120", "finetune.lr=1e-4", "finetune.batch=8", "finetune.crop=48", "finetune.validate_every=40"],
    "gpu": ["device=cuda"],
}
QUIET = ["fidelity=0", "certify=false", "finetune.patience=0"]


def test_sets(overrides: list[str]) -> dict[str, ImageSet]:
    """Images to test on: the sample's, and of every SIDD block 128 x 128 pixels where they are there."""
    sets = {"sample": ["data=sample", *(one for one in overrides if one.startswith("data."))]}
    if (Path(os.environ.get("QPRUNE_REAL_DATA", "")) / "sidd_native").is_dir():
        sets["SIDD"] = [*data_overrides("sidd_native"), "data.block_size=128", "data.blocks_per_image=1"]
    return {name: RunPlan.of(compose_jobs("run", chosen).jobs[0]).data.test() for name, chosen in sets.items()}


def judged(network: Any, tests: dict[str, ImageSet]) -> dict[str, list[float]]:
    """PSNR of every test image."""
    return {name: [mean_measure(psnrs, network, ImageSet((pair,)), "test") for pair in images.pairs] for name, images in tests.items()}


def measure(model: str, method: str, sparsity: float, seed: int, overrides: list[str], tests: dict[str, ImageSet]) -> dict[str, Any]:
    """Prune, re-fit and train one network; "dense" is trained only."""
    rows: dict[str, Any] = {}
    for kind in KINDS:
        own = METHODS.get(method, METHODS[REFERENCE])
        asked = [f"model={model}", *own, f"finetune={kind}", f"seed={seed}", f"sparsity={sparsity}", *QUIET, *overrides]
        plan = RunPlan.of(compose_jobs("run", asked).jobs[0])
        dense = plan.model.load().to(pick_device(plan.settings.device))
        splits = plan.data.load(seed)
        job = prepare(plan.settings, dense, splits, plan.model.keep_layers, plan.model.wrap)
        with TemporaryDirectory() as place:
            shared = Shared(Store.of_user(True), dense, job.layout, splits, Clock())
            trainings = Trainings(plan.finetune, shared, replace(plan.settings, seed=seed, rounds=1), NoFiles(Path(place)))
            keep = np.ones(job.layout.n, bool) if method == "dense" else select(plan, shared, job.budgets).solution.keep
            if "re-fitted" not in rows:
                fitted, _ = plan.compensate.fit(dense, job.layout, keep, splits, seed)
                networks = shrunk(dense, job.layout, {"raw": keep, "re-fitted": keep}, {"re-fitted": fitted})
                rows |= {name: judged(network, tests) for name, network in networks.items()}
                size = footprint_of(networks["raw"], job.shape)
            rows[kind] = judged(trainings.last(networks["re-fitted"], keep), tests)
    return {"model": model, "method": method, "sparsity": sparsity, "seed": seed, "params": size.params, "macs": size.macs, "psnr": rows}


def table(rows: list[dict[str, Any]], model: str, images: str) -> str:
    """Means over the seeds in dB, and below each the paired difference from the reference, as a markdown table."""

    def values(method: str, sparsity: float, stage: str) -> Any:
        own = [row for row in rows if (row["model"], row["method"], row["sparsity"]) == (model, method, sparsity)]
        return np.mean([row["psnr"][stage][images] for row in own], axis=0)

    dense = ", ".join(f"{stage} {values('dense', 0.0, stage).mean():.2f}" for stage in STAGES)
    known = {(row["method"], row["sparsity"]) for row in rows if row["model"] == model}
    lines = [
        f"\n{model} on {images}, dense: {dense}\n",
        f"| sparsity | method | {' | '.join(STAGES)} |",
        "|---|---|" + "---|" * len(STAGES),
    ]
    for sparsity in SPARSITIES:
        for method in (method for method in METHODS if (method, sparsity) in known):
            cells = [f"{values(method, sparsity, stage).mean():.2f}" for stage in STAGES]
            if method != REFERENCE:
                for k, stage in enumerate(STAGES):
                    change = values(method, sparsity, stage) - values(REFERENCE, sparsity, stage)
                    cells[k] += f" ({interval([float(change.mean()), *ci95(change)])})"
            lines.append(f"| {sparsity} | `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="write the results here as well; what it holds already is not done again")
    parser.add_argument("--models", nargs="+", default=None, help="shipped networks (half_unet; half_unet_small with --scale tiny)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of the runs")
    arguments = parser.parse_args()
    overrides = [*SCALES[arguments.scale], *arguments.set]
    models = arguments.models or ["half_unet_small" if arguments.scale == "tiny" else "half_unet"]
    tests = test_sets(overrides)
    rows = json.loads(arguments.json.read_text()) if arguments.json and arguments.json.is_file() else []
    known = {(row["model"], row["method"], row["sparsity"], row["seed"]) for row in rows}
    wanted = [(model, "dense", 0.0, seed) for model in models for seed in arguments.seeds]
    wanted += [
        (model, method, sparsity, seed) for seed in arguments.seeds for method in METHODS for sparsity in SPARSITIES for model in models
    ]
    for one in tqdm([one for one in wanted if one not in known], disable=None):
        rows.append(measure(*one, overrides, tests))
        if arguments.json:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(json.dumps(rows))
    for model in models:
        for images in tests:
            print(table(rows, model, images), flush=True)


if __name__ == "__main__":
    main()
