import pytest

from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.errors import UserError
from tests.runs import SMOKE, carried_out, made_once, only_run, read

WORDS = [*SMOKE, "solver=greedy_taylor", "baselines=standard", "baselines.draws=2"]
WORDS += ["baselines.scorers=[random,leave_one_out,taylor]"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return only_run(made_once(tmp_path_factory, "baselines", lambda folder: carried_out(*WORDS, f"output_root={folder}")))


@pytest.mark.slow
def test_masks_of_other_scorers_meet_the_same_budget_and_are_measured_raw_and_re_fitted(measured):
    metrics = read(measured)
    others = metrics["baselines"]
    assert [(other["name"], other["seed"]) for other in others] == [("random", 0), ("random", 1), ("leave_one_out", 0), ("taylor", 0)]
    assert all(other["stages"]["solved"]["filters"] == metrics["stages"]["solved"]["filters"] == 32 for other in others)
    same, stages = others[-1]["stages"], metrics["stages"]  # the method of the run itself
    for stage in ("solved", "compensated"):
        assert same[stage]["psnr"] == stages[stage]["psnr"] and same[stage]["macs"] == stages[stage]["macs"]
    assert "random, mean of 2 masks: " in (measured / "run.log").read_text()


@pytest.mark.slow
def test_what_they_found_is_kept_for_later_runs(measured, tmp_path):
    carried_out(*WORDS, f"output_root={tmp_path}")
    later = only_run(tmp_path)
    taken = set(read(later, "manifest.json")["cache"])
    assert {"baseline: random, 32 of 64 filters, seed 0", "baseline: leave_one_out, 32 of 64 filters, seed 0"} <= taken
    assert read(measured)["baselines"] == read(later)["baselines"]


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
