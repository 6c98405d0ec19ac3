import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qprune_cli.problem.allocation import best_counts, least_costs
from qprune_cli.problem.profile import assembled, layer_profiles
from tests.conftest import all_masks, best_damage, factored_problem, random_problem

SEEDS = st.integers(0, 10**6)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("width", [1, 2, 9, 12])
def test_profile_of_a_small_layer_equals_enumeration(width, signed):
    for seed in range(5):
        problem = random_problem(seed, widths=(width,), budget=1, floor=0, signed=signed)
        (profile,) = layer_profiles(problem)
        masks = all_masks(width)
        damage = problem.damage(masks)
        least = [damage[masks.sum(axis=1) == k].min() for k in range(width + 1)]
        assert np.allclose(profile.damage, least)


@settings(max_examples=20)
@given(SEEDS, st.booleans())
def test_masks_of_a_profile_have_its_counts_and_its_damage(seed, signed):
    problem = random_problem(seed, widths=(4, 40, 4, 5), budget=20, signed=signed)
    chosen = layer_profiles(problem)
    for k in (1, 3, 4):
        kept = [k] * 4
        keep = assembled(chosen, kept)
        assert problem.kept_per_layer(keep).tolist() == kept
        assert np.isclose(problem.damage(keep[None])[0], sum(profile.damage[k - 1] for profile in chosen))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.booleans(), st.integers(1, 12))
def test_profiles_and_counts_reach_the_least_damage_of_every_total(seed, signed, kept):
    problem = random_problem(seed, budget=kept, floor=0, signed=signed)
    chosen = layer_profiles(problem)
    counts, costs = problem.budget.counts, [profile.damage for profile in chosen]
    least = best_damage(problem)
    assert np.isclose(least_costs(counts, costs)[kept], least)
    assert np.isclose(problem.damage(assembled(chosen, best_counts(counts, costs, kept))[None])[0], least)


def test_a_profile_of_couplings_across_layers_holds_the_part_within_layers():
    problem = factored_problem(0)
    within = dataclasses.replace(
        problem,
        pairs=dataclasses.replace(problem.pairs, factor=None, blocks=tuple(problem.pairs.between(f, f) for f in problem.filters_of)),
    )
    for profile, expected in zip(layer_profiles(problem), layer_profiles(within), strict=True):
        assert np.allclose(profile.damage, expected.damage)
