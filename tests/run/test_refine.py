"""Runs that refine: what they write, that they may be stopped at any time, and that nothing is measured twice."""

import csv
import signal

import numpy as np
import pytest
import yaml

from qprune_cli import cli
from qprune_cli.errors import UserError
from qprune_cli.replay.metric import MaskMetric
from tests.processes import begun, killed
from tests.runs import SMOKE, carried_out, made_once, only_run, read

SMALL = [*SMOKE, "sparsity=0.75", "compensate=none"]
REFINED = [*SMALL, "solver=random", "refine.evaluations=60"]


@pytest.fixture(scope="module")
def refined(tmp_path_factory):
    words = [*REFINED, "refine=sequential"]
    return only_run(made_once(tmp_path_factory, "refined", lambda folder: carried_out(*words, f"output_root={folder}")))


def test_gains_are_told_side_by_side_and_agree_in_all_files(refined):
    told, metrics = read(refined, "refinement.json"), read(refined, "metrics.json")
    summary, stages = metrics["refinement"], metrics["stages"]
    assert summary["test"] == {"before": stages["solved"]["psnr"]["mean"], "after": stages["compensated"]["psnr"]["mean"]}
    for half in ("tuned", "held_out"):
        assert summary[half] == told[half] and told[half]["after"] > told[half]["before"]
    assert told["images"] == {"tuned": 4, "held_out": 4} and 3 <= told["evaluations"] == summary["evaluations"] <= 60
    assert "the mask was refined on 8 images" in (refined / "run.log").read_text()
    assert np.load(refined / "mask.npz")["keep"].sum() == 16
    assert not (refined / "refinement.npz").exists()


def test_trace_has_a_row_for_each_evaluation(refined):
    with (refined / "trace.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["stage"] == "refine"]
    told = read(refined, "refinement.json")
    assert int(rows[-1]["evaluation"]) == told["evaluations"]
    assert float(rows[0]["psnr"]) == told["tuned"]["before"] and float(rows[0]["held_out"]) == told["held_out"]["before"]
    moves = [row for row in rows if row["held_out"]]
    assert len(moves) == told["moves"] + 1 and max(float(row["held_out"]) for row in moves) == told["held_out"]["after"]


@pytest.mark.slow
@pytest.mark.parametrize("refiner", ["descent", "sequential"])
def test_killed_run_resumes_to_the_same_mask_and_measures_nothing_twice(refiner, refined, tmp_path, monkeypatch):
    whole = refined
    if refiner != "sequential":
        carried_out(*REFINED, f"refine={refiner}", f"output_root={tmp_path}/whole")
        whole = only_run(tmp_path / "whole")
    run = begun(*REFINED, f"refine={refiner}", f"output_root={tmp_path}/killed")
    assert killed(run, lambda: list((tmp_path / "killed").rglob("refinement.npz"))) == -signal.SIGKILL
    folder = only_run(tmp_path / "killed")
    assert not (folder / "manifest.json").exists()
    best = np.load(folder / "mask.npz")["keep"]
    assert best.sum() == 16
    with np.load(folder / "refinement.npz") as file:
        before = {mask.tobytes() for mask in file["masks"]}
    measured = MaskMetric.measure
    again = []

    def counted(self, keep, images, near):
        again.extend(np.packbits(mask).tobytes() for mask in keep if len(images) < self.images)
        return measured(self, keep, images, near)

    monkeypatch.setattr(MaskMetric, "measure", counted)
    assert cli.dispatch(["run", "--resume", str(folder)]) == 0
    assert not before & set(again)
    assert np.array_equal(np.load(folder / "mask.npz")["keep"], np.load(whole / "mask.npz")["keep"])
    resumed, uninterrupted = (read(path, "refinement.json") for path in (folder, whole))
    assert resumed["evaluations"] == uninterrupted["evaluations"]
    assert resumed["held_out"]["after"] == pytest.approx(uninterrupted["held_out"]["after"], abs=1e-4)
    with pytest.raises(UserError, match="this run is finished; repeat it with --from"):
        cli.dispatch(["run", "--resume", str(folder)])


@pytest.mark.parametrize("content", [b"not an archive", None])
@pytest.mark.slow
def test_damaged_state_is_told_and_the_refinement_begins_anew(content, refined, tmp_path, caplog):
    folder = tmp_path / "stopped"
    folder.mkdir()
    (folder / "config.yaml").write_text((refined / "config.yaml").read_text())
    if content is None:
        np.savez(folder / "refinement.npz", best=np.ones(3, bool))
    else:
        (folder / "refinement.npz").write_bytes(content)
    assert cli.dispatch(["run", "--resume", str(folder)]) == 0
    assert "refinement.npz: cannot be used" in caplog.text and "begins anew" in caplog.text
    assert np.array_equal(np.load(folder / "mask.npz")["keep"], np.load(refined / "mask.npz")["keep"])


@pytest.mark.slow
def test_interrupted_run_says_how_to_go_on(tmp_path):
    words = [*SMALL, "refine=random", "refine.evaluations=100000", f"output_root={tmp_path / 'out'}"]
    run = begun(*words, output=tmp_path / "said.txt")
    assert killed(run, lambda: list(tmp_path.rglob("refinement.npz")), signal.SIGINT) == 130
    assert f"go on with `qprune run --resume {only_run(tmp_path / 'out')}`" in (tmp_path / "said.txt").read_text()
    assert "Traceback" not in (tmp_path / "said.err").read_text()


def test_resume_refuses_other_settings_and_a_repetition(refined, tmp_path):
    with pytest.raises(UserError, match="either repeated or resumed"):
        cli.dispatch(["run", "--from", str(refined), "--resume", str(refined)])
    with pytest.raises(UserError, match=r"holds no config\.yaml"):
        cli.dispatch(["run", "--resume", str(tmp_path)])
    (tmp_path / "config.yaml").write_text((refined / "config.yaml").read_text())
    with pytest.raises(UserError, match="a run goes on as it began"):
        cli.dispatch(["run", "--resume", str(tmp_path), "sparsity=0.5"])
    with pytest.raises(UserError, match="--resume: one run is repeated or resumed"):
        cli.dispatch(["run", "-m", "--resume", str(tmp_path)])


@pytest.mark.slow
def test_chain_lists_refiners_that_go_on_from_each_other_and_is_repeated_from_its_record(tmp_path):
    stages = "refine.stages=[{random:{evaluations:10}},{chain:{stages:[{gradient:{evaluations:20,tries:2}}]}},none]"
    assert cli.dispatch([*SMALL, "refine=chain", stages, "solver=random", f"output_root={tmp_path}/first"]) == 0
    folder = only_run(tmp_path / "first")
    told = read(folder, "refinement.json")
    assert [stage["refiner"] for stage in told["stages"]] == ["RandomSearch", "Chain", "NoRefinement"]
    assert told["evaluations"] <= 30 and told["held_out"]["after"] >= told["stages"][0]["held_out"]["after"]
    stated = yaml.safe_load((folder / "config.yaml").read_text())["refine"]["stages"]
    assert [stage.get("evaluations") for stage in stated] == [10, None, None] and stated[1]["stages"][0]["evaluations"] == 20
    assert cli.dispatch(["run", "--from", str(folder), f"output_root={tmp_path}/second"]) == 0
    assert np.array_equal(*(np.load(only_run(tmp_path / name) / "mask.npz")["keep"] for name in ("first", "second")))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["refine=sequental"], "did you mean 'sequential'"),
        (["refine=sequential", "refine.evaluations=2"], "refine.evaluations=2: give a number, at least 10"),
        (["refine=sequential", "refine.objective=compensate"], "did you mean 'compensated'"),
        (["refine=gradient", "refine.evaluations=6"], "at least 7"),
        (["refine=chain", "refine.stages=[{descent:{objective:silenced}}]"], "set refine.objective=silenced"),
        (["refine=chain", "refine.stages=[]"], "give a list of names; `qprune list refine`"),
        (["refine=chain", "refine.stages=descent"], "give a list of names; `qprune list refine`"),
        (["refine=chain", "refine.stages=[decent]"], "did you mean 'descent'"),
        (["refine=chain", "refine.stages=[{descent:{bach:3}}]"], "did you mean 'batch'"),
        (["refine=chain", "refine.stages=[{descent:{batch:0}}]"], "refine.batch=0"),
    ],
)
def test_mistakes_get_one_sentence_before_anything_is_written(overrides, message, tmp_path):
    with pytest.raises(UserError) as caught:
        cli.dispatch([*SMALL, *overrides, f"output_root={tmp_path}"])
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_gain_is_that_of_the_network_that_was_refined_for(tmp_path):
    """With weights that are re-fitted, before and after is the re-fitted network at the solver's mask and at the refined one."""
    asked = [word for word in SMALL if word != "compensate=none"] + ["refine=sequential", "refine.evaluations=40"]
    summaries = {}
    for objective in ("compensated", "silenced"):
        assert cli.dispatch([*asked, f"refine.objective={objective}", f"output_root={tmp_path}/{objective}"]) == 0
        metrics = read(only_run(tmp_path / objective), "metrics.json")
        summaries[objective], stages = metrics["refinement"], metrics["stages"]
        after = {"compensated": "compensated", "silenced": "refined"}[objective]
        assert summaries[objective]["test"]["after"] == stages[after]["psnr"]["mean"]
    assert cli.dispatch([*asked[:-2], "refine=none", f"output_root={tmp_path}/none"]) == 0
    plain = read(only_run(tmp_path / "none"), "metrics.json")["stages"]
    assert summaries["compensated"]["test"]["before"] == pytest.approx(plain["compensated"]["psnr"]["mean"])
    assert summaries["silenced"]["test"]["before"] == plain["solved"]["psnr"]["mean"]
