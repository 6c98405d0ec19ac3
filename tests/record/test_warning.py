import json
from dataclasses import replace

import numpy as np

from qprune_cli.problem.budget import Budget
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.record.folder import Folder
from qprune_cli.record.solution import write_solution
from qprune_cli.record.warning import run_warnings
from qprune_cli.scores import Pairs, Scores
from qprune_cli.types import FilterGroup, Layout

LAYOUT = Layout((FilterGroup("a", "a", 3), FilterGroup("b", "b", 3)))


def warned(linear, keep, dead=None, floor=1, sparsity=None):
    keep = np.array(keep, bool)
    sparsity = 1 - keep.mean() if sparsity is None else sparsity
    scores = Scores(np.array(linear, float), Pairs.none(), None if dead is None else np.array(dead, bool))
    problem = PruningProblem(LAYOUT, scores.linear, scores.pairs, Budget.filters(LAYOUT, int(keep.sum()), floor))
    return " ".join(run_warnings(problem, scores, problem.judge(keep, 0.0), sparsity))


def test_an_ordinary_mask_gives_no_warning():
    assert warned([1, 2, 3, 4, 5, 6], [0, 1, 1, 1, 1, 1], [0] * 6) == ""


def test_a_tie_across_the_cut_is_told():
    assert "arbitrary" in warned([1, 1, 3, 4, 5, 6], [0, 1, 1, 1, 1, 1])


def test_more_dead_filters_than_removed_ones_are_told():
    assert "only filters that are dead" in warned([1, 2, 3, 4, 5, 6], [0, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0])


def test_dead_filters_that_the_floor_keeps_are_told():
    assert "3 of the dead filters stay while live ones go" in warned([1, 2, 3, 4, 5, 6], [1, 1, 1, 0, 1, 1], [1, 1, 1, 0, 0, 0], floor=2)


def test_a_count_that_rounded_widths_do_not_reach_is_told():
    assert "5 filters stay where 4 were asked" in warned([1, 2, 3, 4, 5, 6], [0, 1, 1, 1, 1, 1], sparsity=0.3)


def test_what_a_scorer_warns_of_is_told_and_what_else_it_says_is_written(tmp_path):
    keep = np.array([0, 1, 1, 1, 1, 1], bool)
    scores = Scores(np.arange(6.0), Pairs.none(), notes={"programs": 4, "warnings": ["2 of 4 programs ran out of time"]})
    problem = PruningProblem(LAYOUT, scores.linear, scores.pairs, Budget.filters(LAYOUT, 5, 1))
    solution = problem.judge(keep, 0.0)
    assert run_warnings(problem, scores, solution, 1 / 6) == ["2 of 4 programs ran out of time"]
    write_solution(Folder(tmp_path), problem, scores, solution, [], {})
    assert json.loads((tmp_path / "solution.json").read_text())["scorer"] == {"programs": 4}
    write_solution(Folder(tmp_path), problem, replace(scores, notes={"warnings": ["late"]}), solution, [], {})
    assert "scorer" not in json.loads((tmp_path / "solution.json").read_text())
