import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qprune_cli.problem.local_search import polished, repaired
from qprune_cli.problem.walk import Walk
from qprune_cli.scores import Pairs
from tests.conftest import all_masks, priced_problem, random_problem

SEEDS = st.integers(0, 10**6)


@given(SEEDS, st.booleans(), st.integers(0, 2), st.integers(6, 12))
def test_any_mask_is_repaired_to_a_feasible_one(seed, signed, floor, budget):
    problem = random_problem(seed, budget=budget, floor=floor, signed=signed)
    start = np.random.default_rng(seed).uniform(size=problem.layout.n) < 0.5
    assert problem.feasible(repaired(problem, start))


@given(SEEDS, st.booleans())
def test_marginals_stay_equal_to_the_change_of_damage(seed, signed):
    problem = random_problem(seed, signed=signed)
    rng = np.random.default_rng(seed)
    walk = Walk(problem, rng.uniform(size=problem.layout.n) < 0.5)
    for i in rng.integers(problem.layout.n, size=20):
        walk.flip(int(i))
    for i in range(problem.layout.n):
        other = walk.keep.copy()
        other[i] = not other[i]
        change = problem.damage(np.stack([other, walk.keep]))
        sign = 1 if walk.keep[i] else -1
        assert np.isclose(walk.marginal[i], sign * (change[0] - change[1]))
    assert np.array_equal(walk.kept, problem.kept_per_layer(walk.keep))


@settings(max_examples=50)
@given(SEEDS, st.booleans(), st.integers(0, 2))
def test_no_swap_helps_after_polishing(seed, signed, floor):
    problem = random_problem(seed, budget=7, floor=floor, signed=signed)
    start = repaired(problem, np.random.default_rng(seed).uniform(size=problem.layout.n) < 0.5)
    keep, _ = polished(problem, start)
    assert problem.feasible(keep)
    before, after = problem.damage(np.stack([start, keep]))
    assert after <= before + 1e-12
    masks = all_masks(problem.layout.n)
    neighbours = masks[(masks != keep).sum(axis=1) == 2]
    feasible = np.array([problem.feasible(mask) for mask in neighbours])
    assert problem.damage(neighbours[feasible]).min() >= after - 1e-9


def test_a_polished_mask_without_couplings_is_optimal():
    problem = random_problem(3, budget=6, floor=1)
    linear = dataclasses.replace(problem, pairs=problem.pairs.none())
    masks = np.array([mask for mask in all_masks(linear.layout.n) if linear.feasible(mask)])
    keep, _ = polished(linear, masks[-1])
    assert np.isclose(linear.damage(keep[None])[0], linear.damage(masks).min())


@given(SEEDS)
def test_polishing_ends_where_swaps_do_not_fit_the_budget_and_filters_are_coupled_across_layers(seed):
    base = priced_problem(seed, union=True, share=0.5)
    factor = np.random.default_rng(seed).normal(size=(3, base.layout.n))
    problem = dataclasses.replace(base, pairs=Pairs(base.pairs.blocks, factor))
    start = repaired(problem, np.random.default_rng(seed).uniform(size=base.layout.n) < 0.5)
    keep, _ = polished(problem, start)
    assert problem.feasible(keep)
