import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qprune_cli.problem.budget import Budget, layer_counts
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.walk import Walk
from qprune_cli.search.moves import Swap, best_chain, best_swaps, random_swaps, swapped
from tests.conftest import factored_problem, priced_problem, random_problem


@given(st.integers(0, 10**6), st.integers(1, 30))
def test_random_swaps_are_distinct_pairs_of_a_kept_and_a_dropped_live_filter_and_respect_the_layers(seed, count):
    base = random_problem(seed, budget=7)
    rng = np.random.default_rng(seed)
    counts = layer_counts(base.layout, 1, limits={"layer0": (2, 3), "layer1": (1, 4), "layer2": (2, 2)})
    problem = PruningProblem(base.layout, base.linear, base.pairs, Budget("filters", 7, counts))
    keep = np.array([1, 1, 0, rng.integers(2), 1, 1, 0, 0, 0, 1, 1, 0], bool)
    dead = rng.uniform(size=12) < 0.3
    swaps = random_swaps(problem, keep, dead, count, rng)
    assert len({tuple(swap) for swap in swaps.tolist()}) == len(swaps) <= count
    for i, j in swaps:
        assert keep[i] and not keep[j]
        assert problem.budget.allows(problem.kept_per_layer(swapped(keep, [(i, j)])))
        assert not dead[i] or not (~dead & keep).any()
        assert not dead[j] or not (~dead & ~keep).any()


@pytest.mark.parametrize("make", [random_problem, factored_problem, priced_problem])
def test_best_swaps_are_the_best_of_all_that_the_budget_allows(make):
    for seed in range(20):
        problem = make(seed)
        keep = feasible_mask(problem, seed)
        masks = {
            Swap(i, j): swapped(keep, [(i, j)])
            for i in np.flatnonzero(keep).tolist()
            for j in np.flatnonzero(~keep).tolist()
            if problem.feasible(swapped(keep, [(i, j)]))
        }
        if not masks:
            assert not best_swaps(Walk(problem, keep), 1, set())
            continue
        best = min(masks, key=lambda swap: problem.damage(masks[swap][None])[0])
        assert best_swaps(Walk(problem, keep), 1, set()) == [best]
        assert best not in best_swaps(Walk(problem, keep), 3, {best})


@pytest.mark.parametrize("make", [random_problem, factored_problem, priced_problem])
def test_every_part_of_a_chain_is_feasible_and_better_than_the_part_before(make):
    for seed in range(20):
        problem = make(seed)
        keep = feasible_mask(problem, seed)
        chain = best_chain(Walk(problem, keep), 5, set())
        masks = np.stack([swapped(keep, chain[:length]) for length in range(len(chain) + 1)])
        assert all(problem.feasible(mask) for mask in masks)
        assert (np.diff(problem.damage(masks))[1:] < 0).all()


def feasible_mask(problem, seed):
    from qprune_cli.problem.local_search import repaired

    return repaired(problem, np.random.default_rng(seed).uniform(size=problem.layout.n) < 0.5)
