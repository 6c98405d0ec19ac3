import numpy as np
import pytest

from qprune_cli.errors import UserError
from qprune_cli.problem.budget import Budget
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Pairs
from qprune_cli.solver.annealing import Annealing
from qprune_cli.solver.greedy import Greedy
from qprune_cli.types import FilterGroup, Layout
from tests.conftest import all_masks, random_problem

QUICK = Annealing(reads=5, sweeps=100, steps=12)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_small_problems_are_solved_to_the_optimum(seed, signed):
    problem = random_problem(seed, signed=signed)
    masks = all_masks(problem.layout.n)
    best = problem.damage(masks[[problem.feasible(mask) for mask in masks]]).min()
    assert np.isclose(QUICK.solve(problem, seed).damage, best)


def test_without_couplings_it_equals_greedy_bit_for_bit():
    problem = random_problem(1, widths=(64,) * 4, budget=100)
    linear = PruningProblem(problem.layout, problem.linear, Pairs.none(), problem.budget)
    assert np.array_equal(QUICK.solve(linear, 0).keep, Greedy().solve(linear, 0).keep)


def test_a_count_that_no_capacity_reaches_is_still_met():
    # Three filters worth 1.0 against five worth 0.8, incompatible: keeping 4 is optimal at no capacity.
    layout = Layout((FilterGroup("a", "a", 8),))
    worth = np.array([1.0] * 3 + [0.8] * 5)
    block = np.zeros((8, 8))
    block[:3, 3:] = 10
    pairs = Pairs((block + block.T,))
    problem = PruningProblem(layout, worth - pairs.sums(8)[1], pairs, Budget.filters(layout, 4))
    solved = Annealing(reads=5, sweeps=100, steps=20).solve(problem, 0)
    assert solved.keep.sum() == 4
    assert not any(row["kept"] == 4 for row in solved.notes["trace"])
    assert solved.notes["repair"]["filters_changed"] > 0


def test_notes_hold_the_bisection_the_reads_and_the_repair():
    notes = QUICK.solve(random_problem(2), 0).notes
    assert {"alpha", "kept", "energy"} <= notes["trace"][0].keys()
    assert len(notes["reads"]["kept"]) == len(notes["reads"]["energy"]) == 5
    assert notes["repair"].keys() >= {"kept_before", "filters_changed", "swaps"}


@pytest.mark.parametrize("name", ["reads", "sweeps", "steps"])
def test_counts_below_one_are_refused(name):
    with pytest.raises(UserError, match=f"solver.{name}=0"):
        Annealing(**{name: 0})
