import numpy as np
import pytest

from qprune_cli.problem.budget import Budget
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Pairs
from qprune_cli.solver.critical import Critical
from qprune_cli.solver.greedy import Greedy
from qprune_cli.types import FilterGroup, Layout
from tests.conftest import all_masks, priced_problem, random_problem

LAYOUT = Layout((FilterGroup("a", "a", 3), FilterGroup("b", "b", 3)))


def test_the_highest_scores_go_first():
    problem = PruningProblem(LAYOUT, np.array([5.0, 1, 6, 2, 9, 8]), Pairs.none(), Budget.filters(LAYOUT, 4))
    solved = Critical().solve(problem, 0)
    assert solved.keep.tolist() == [True, True, True, True, False, False] and solved.damage == 17


def test_a_layer_never_falls_below_its_floor():
    problem = PruningProblem(LAYOUT, np.array([1.0, 2, 3, 7, 8, 9]), Pairs.none(), Budget.filters(LAYOUT, 4, floor=2))
    assert Critical().solve(problem, 0).keep.tolist() == [True, True, False, True, True, False]


def test_without_couplings_no_mask_of_the_budget_does_more_damage():
    for seed in range(3):
        coupled = random_problem(seed)
        problem = PruningProblem(coupled.layout, coupled.linear, Pairs.none(), coupled.budget)
        masks = all_masks(problem.layout.n)
        worst = problem.damage(masks[[problem.feasible(mask) for mask in masks]]).max()
        assert Critical().solve(problem, 0).damage == pytest.approx(worst)


def test_couplings_play_no_part_in_the_choice_and_count_in_the_damage():
    coupled = random_problem(1)
    alone = PruningProblem(coupled.layout, coupled.linear, Pairs.none(), coupled.budget)
    with_pairs, without = Critical().solve(coupled, 0), Critical().solve(alone, 0)
    assert np.array_equal(with_pairs.keep, without.keep) and with_pairs.damage > without.damage


def test_it_is_as_sparse_as_greedy_removal_and_does_more_damage():
    for seed in range(4):
        for problem in (random_problem(seed), priced_problem(seed)):
            worst, best = (solver.solve(problem, 0) for solver in (Critical(), Greedy()))
            assert worst.feasible and worst.damage > best.damage
            assert not problem.budget.exact or worst.keep.sum() == best.keep.sum()
