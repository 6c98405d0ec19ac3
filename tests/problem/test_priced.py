from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qprune_cli.problem.local_search import polished, repaired
from qprune_cli.problem.priced import dual, mask_from_profiles, priced_counts
from qprune_cli.problem.profile import layer_profiles
from tests.conftest import best_damage, priced_problem

SEEDS = st.integers(0, 10**6)


def nothing_fits(problem, keep):
    """Whether no layer can go to its next number of filters: by any filter, or where it takes several, by the best ones."""
    for filters, options in zip(problem.filters_of, problem.budget.counts, strict=True):
        bigger = options[options > keep[filters].sum()]
        step = int(bigger[0] - keep[filters].sum()) if len(bigger) else 0
        if step == 1:
            for i in filters[~keep[filters]]:
                more = keep.copy()
                more[i] = True
                if problem.feasible(more):
                    return False
    return True


@settings(max_examples=20)
@given(SEEDS, st.booleans(), st.booleans(), st.floats(0.2, 0.95), st.integers(1, 2))
def test_a_cost_is_never_exceeded_and_nothing_more_fits(seed, union, signed, share, round_to):
    problem = priced_problem(seed, share=share, union=union, signed=signed, round_to=round_to)
    start = np.random.default_rng(seed).uniform(size=problem.layout.n) < 0.5
    mended, profiled = repaired(problem, start), mask_from_profiles(problem, layer_profiles(problem))[0]
    for keep in (mended, polished(problem, mended)[0], profiled):
        assert problem.feasible(keep) and nothing_fits(problem, keep)


@settings(max_examples=15)
@given(SEEDS, st.floats(0.2, 0.95))
def test_bound_of_priced_counts_is_below_every_choice_and_counts_are_near_the_best(seed, share):
    problem = priced_problem(seed, share=share)
    chosen = layer_profiles(problem)
    counts = priced_counts(chosen, problem.prices, problem.budget.limit)
    kept = np.array(list(product(*(profile.counts for profile in chosen))))
    cost = np.array([problem.prices.cost(row) for row in kept])
    damage = sum(profile.damage[row - profile.counts[0]] for profile, row in zip(chosen, kept.T, strict=True))
    least = damage[cost <= problem.budget.limit * (1 + 1e-9)].min()
    assert counts.bound is None or counts.bound <= least + 1e-9
    assert least - 1e-9 <= counts.damage <= least + 0.1 * np.ptp(damage)
    assert problem.prices.cost(counts.kept) <= problem.budget.limit
    for price in (-0.1, 0.0, 0.1):
        assert np.isclose(dual(chosen, problem.prices, price, 50.0), (damage + price * (cost - 50.0)).min())


@pytest.mark.parametrize(("union", "tolerance"), [(False, 0.06), (True, 0.12)])
def test_priced_masks_are_near_the_best_of_all_masks(union, tolerance):
    gaps = []
    for seed in range(10):
        problem = priced_problem(seed, union=union)
        keep, _ = mask_from_profiles(problem, layer_profiles(problem))
        best = best_damage(problem)
        gaps.append((problem.damage(keep[None])[0] - best) / best)
    assert np.mean(gaps) < tolerance
