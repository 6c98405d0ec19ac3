import numpy as np
import pytest

from qprune_cli import cli
from qprune_cli.errors import MissedTarget
from qprune_cli.problem.budget import Budget
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.record.budget import asked_line, missed_target, obtained, solution_lines
from qprune_cli.run import outcome
from qprune_cli.scores import Pairs
from qprune_cli.types import FilterGroup, Footprint, Latency, Layout, Memory, Quality, Stage
from tests.runs import DIGITS, read

LAYOUT = Layout((FilterGroup("a", "a", 4),))
COSTLY = Budget("params", 50.0, (np.arange(1, 5),), lambda keep: 20.0 * keep.sum())
QUALITY = Quality(("one",), {"psnr": np.array([30.0]), "ssim": np.array([0.9])})


def stages(params, ms=1.0):
    sizes = {"dense": (100, 10.0), "compensated": (params, ms)}
    return {
        name: Stage(QUALITY, Footprint(size, 10 * size, 4), Memory(1, 1), Latency(time, time, time, 7, 1))
        for name, (size, time) in sizes.items()
    }


def test_a_network_above_its_budget_is_missed_and_one_within_is_not():
    assert missed_target(COSTLY, 0.5, stages(50)) == []
    assert "0.510 of the dense one's, more than the 0.500" in missed_target(COSTLY, 0.5, stages(51))[0]
    assert missed_target(Budget.filters(LAYOUT, 2), 0.5, stages(99)) == []


def test_measured_latency_may_be_noisy():
    budget = Budget("latency", 5.0, COSTLY.counts, COSTLY.spend)
    assert missed_target(budget, 0.5, stages(50, ms=5.4)) == [] and missed_target(budget, 0.5, stages(50, ms=5.6))


def test_what_was_obtained_is_counted_on_the_smaller_network():
    keep = np.array([True, True, False, False])
    assert obtained(COSTLY, keep, stages(40)) == {"got": pytest.approx(0.6), "limit": 50.0, "spent": 40.0}
    assert obtained(Budget.filters(LAYOUT, 2), keep, stages(40)) == {"got": 0.5}


def test_lines_say_what_was_asked_spent_proven_and_trusted():
    assert asked_line(COSTLY) == "leaves at most 50 params" and asked_line(Budget.filters(LAYOUT, 2)) == "keeps 2"
    problem = PruningProblem(LAYOUT, np.array([1.0, 2.0, 3.0, 4.0]), Pairs.none(), Budget.filters(LAYOUT, 2))
    solution = problem.judge(np.array([False, False, True, True]), 0.0, bound=2.3)
    told = {"swaps": 4, "solved": {"correlation": 0.5}, "at_mask": {"correlation": None}}
    said = solution_lines(problem, solution, told)
    assert "2 filters of 2 filters; predicted damage 3; no mask can do less than 2.3" in said
    assert "fidelity over 4 swaps: 0.50 as solved, none with scores taken at the mask" in said


def test_a_run_that_misses_its_target_is_complete_and_exits_with_3(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(outcome, "missed_target", lambda *_: ["budget=params: too large"])
    monkeypatch.setattr("sys.argv", ["qprune", *DIGITS, "budget=params", f"output_root={tmp_path}"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 3 and "qprune: budget=params: too large" in capsys.readouterr().err
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "manifest.json").is_file()
    assert "budget=params: too large" in read(folder)["warnings"]
    assert not issubclass(MissedTarget, ValueError)  # it is no mistake in what was asked
