import dataclasses
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qprune_cli.errors import UserError
from qprune_cli.problem.allocation import allowed_counts, best_counts, nearest_total
from qprune_cli.problem.budget import Budget, layer_counts
from qprune_cli.problem.local_search import polished, repaired
from qprune_cli.solver.annealing import Annealing
from qprune_cli.solver.greedy import Greedy
from qprune_cli.types import FilterGroup, Layout
from tests.conftest import all_masks, random_problem

SEEDS = st.integers(0, 10**6)


def rounded_problem(seed, round_to, target, signed=False, coupled=True):
    problem = random_problem(seed, widths=(4, 5, 3), signed=signed)
    budget = Budget.filters(problem.layout, nearest_total(layer_counts(problem.layout, 1, round_to), target), 1, round_to)
    pairs = problem.pairs if coupled else problem.pairs.none()
    return dataclasses.replace(problem, budget=budget, pairs=pairs)


def test_a_layer_keeps_multiples_or_all():
    assert allowed_counts(20, floor=1, round_to=8).tolist() == [8, 16, 20]
    assert allowed_counts(20, floor=0, round_to=8).tolist() == [0, 8, 16, 20]
    assert allowed_counts(20, floor=9, round_to=8).tolist() == [16, 20]
    assert allowed_counts(3, floor=1, round_to=8).tolist() == [3]
    assert allowed_counts(3, floor=1, round_to=1).tolist() == [1, 2, 3]


@given(SEEDS, st.integers(1, 5), st.integers(0, 30))
def test_the_total_is_the_nearest_that_can_be_reached_and_its_counts_cost_least(seed, layers, target):
    rng = np.random.default_rng(seed)
    counts = [allowed_counts(int(rng.integers(1, 9)), int(rng.integers(0, 2)), int(rng.integers(1, 4))) for _ in range(layers)]
    costs = [rng.normal(size=len(options)) for options in counts]
    total = nearest_total(counts, target)
    sums = {sum(choice) for choice in product(*(options.tolist() for options in counts))}
    assert total in sums and abs(total - target) == min(abs(other - target) for other in sums)
    chosen = best_counts(counts, costs, total)
    assert sum(chosen) == total

    def cost(choice):
        return sum(c[options.tolist().index(k)] for k, options, c in zip(choice, counts, costs, strict=True))

    best = min(cost(choice) for choice in product(*(options.tolist() for options in counts)) if sum(choice) == total)
    assert np.isclose(cost(chosen), best)


@given(SEEDS, st.booleans(), st.integers(2, 3), st.integers(5, 12))
def test_any_mask_is_repaired_to_rounded_widths_and_polishing_keeps_them(seed, signed, round_to, target):
    problem = rounded_problem(seed, round_to, target, signed)
    start = np.random.default_rng(seed).uniform(size=problem.layout.n) < 0.5
    keep = repaired(problem, start)
    swapped, _ = polished(problem, keep)
    assert problem.feasible(keep) and problem.feasible(swapped)
    assert problem.damage(swapped[None])[0] <= problem.damage(keep[None])[0] + 1e-12


@given(SEEDS, st.integers(2, 3), st.integers(5, 12))
@pytest.mark.slow
def test_greedy_without_couplings_is_optimal_under_rounded_widths(seed, round_to, target):
    problem = rounded_problem(seed, round_to, target, coupled=False)
    solved = Greedy().solve(problem, 0)
    masks = np.array([mask for mask in all_masks(problem.layout.n) if problem.feasible(mask)])
    assert np.isclose(solved.damage, problem.damage(masks).min())


@pytest.mark.parametrize("solver", [Greedy(), Annealing(reads=2, sweeps=20, steps=3)])
def test_solvers_give_rounded_widths(solver):
    problem = rounded_problem(0, 2, 8)
    solved = solver.solve(problem, 0)
    assert solved.feasible and all(k % 2 == 0 or k == w for k, w in zip(problem.kept_per_layer(solved.keep), (4, 5, 3), strict=True))


def test_half_of_a_half_unet_stays_half_when_widths_are_rounded():
    layout = Layout(tuple(FilterGroup(str(k), str(k), 64) for k in range(12)))
    assert Budget.share(layout, 0.5, layer_counts(layout, 1, 16)).limit == 384
    assert Budget.share(layout, 0.36, layer_counts(layout, 1, 16)).limit == 496
    with pytest.raises(UserError, match=r"keep at least 384, most of them in 0 \(32\), 1 \(32\), 2 \(32\); lower sparsity to at most 0\.5"):
        Budget.share(layout, 0.6, layer_counts(layout, 1, 32))
