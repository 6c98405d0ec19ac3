import json

import pytest

from qprune_cli import cli
from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.errors import UserError
from tests.run.test_run import only_run

SMALL = ["run", "experiment=smoke", "solver=greedy_taylor", "fidelity=0", "certify=false", "latency=false"]


def test_masks_of_other_scorers_meet_the_same_budget_and_are_measured_raw_and_re_fitted(tmp_path, caplog):
    caplog.set_level("INFO", "qprune_cli")
    asked = [*SMALL, "sparsity=0.5", "baselines=standard", "baselines.draws=2", "baselines.scorers=[random,leave_one_out,taylor]"]
    assert cli.dispatch([*asked, f"output_root={tmp_path}"]) == 0
    metrics = json.loads((only_run(tmp_path) / "metrics.json").read_text())
    others = metrics["baselines"]
    assert [(other["name"], other["seed"]) for other in others] == [("random", 0), ("random", 1), ("leave_one_out", 0), ("taylor", 0)]
    assert all(other["stages"]["solved"]["filters"] == metrics["stages"]["solved"]["filters"] == 32 for other in others)
    own, stages = others[-1]["stages"], metrics["stages"]  # the method of the run itself
    for stage in ("solved", "compensated"):
        assert own[stage]["psnr"] == stages[stage]["psnr"] and own[stage]["macs"] == stages[stage]["macs"]
    assert "random, mean of 2 masks: " in caplog.text


def test_what_they_found_is_kept_for_later_runs(tmp_path):
    asked = [*SMALL, "sparsity=0.5", "baselines=standard", "baselines.draws=1"]
    for name in ("first", "second"):
        assert cli.dispatch([*asked, f"output_root={tmp_path}/{name}"]) == 0
    taken = json.loads((only_run(tmp_path / "second") / "manifest.json").read_text())["cache"]
    assert {"baseline: random, 32 of 64 filters, seed 0", "baseline: leave_one_out, 32 of 64 filters, seed 0"} <= set(taken)
    first, second = (json.loads((only_run(tmp_path / name) / "metrics.json").read_text())["baselines"] for name in ("first", "second"))
    assert first == second


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["baselines.draws=0"], "baselines.draws=0: give a number"),
        (["baselines.scorers=[rndom]"], "baselines.scorers: rndom: no such scorer; did you mean 'random'"),
        (["baselines.scorers=[]"], "give a list of names"),
    ],
)
def test_bad_settings_get_one_sentence(words, said):
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        compose_jobs("run", ["baselines=standard", *words]).jobs[0].component("baselines")
