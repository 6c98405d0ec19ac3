import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qprune_cli.problem.bound import certificate, cheapest, decided, lower_bound, projected
from qprune_cli.problem.budget import Budget
from qprune_cli.problem.priced import mask_from_profiles
from qprune_cli.problem.profile import layer_profiles
from tests.conftest import all_masks, best_damage, factored_problem, priced_problem, random_problem

SEEDS = st.integers(0, 10**6)


@settings(max_examples=8)
@given(SEEDS, st.booleans(), st.integers(0, 2), st.integers(6, 12))
def test_no_mask_falls_below_the_bound(seed, signed, floor, kept):
    problem = random_problem(seed, budget=kept, floor=floor, signed=signed)
    assert lower_bound(problem) <= best_damage(problem) + 1e-9


@settings(max_examples=8)
@given(SEEDS, st.integers(1, 3))
@pytest.mark.slow
def test_no_mask_falls_below_the_bound_with_couplings_across_layers(seed, rank):
    problem = factored_problem(seed, rank=rank)
    assert lower_bound(problem) <= best_damage(problem) + 1e-9


@settings(max_examples=10)
@given(SEEDS)
def test_the_bound_of_a_problem_without_couplings_is_its_least_damage(seed):
    problem = random_problem(seed)
    linear = dataclasses.replace(problem, pairs=problem.pairs.none())
    assert np.isclose(lower_bound(linear), best_damage(linear))


def test_the_bound_is_near_the_damage_of_wide_layers():
    rng = np.random.default_rng(0)
    problem = random_problem(0, widths=(64, 96), budget=80)
    blocks = [np.square(np.corrcoef(rng.normal(size=(w, 200)))) / w for w in (64, 96)]
    problem = dataclasses.replace(problem, pairs=dataclasses.replace(problem.pairs, blocks=tuple(blocks)))
    keep, _ = mask_from_profiles(problem, layer_profiles(problem))
    damage = problem.damage(keep[None])[0]
    assert 0 <= damage - lower_bound(problem) <= 0.001 * damage


def test_a_cost_has_no_bound():
    assert lower_bound(priced_problem(0)) is None


@settings(max_examples=8)
@given(SEEDS, st.integers(0, 2), st.integers(6, 12))
def test_best_mask_of_a_tangent_equals_enumeration(seed, floor, kept):
    problem = random_problem(seed, budget=kept, floor=floor)
    budget = Budget("filters", kept, tuple(options[: len(options) - 1] if kept < 8 else options for options in problem.budget.counts))
    problem = dataclasses.replace(problem, budget=budget)
    slope = np.random.default_rng(seed).normal(size=problem.layout.n)
    gone = cheapest(problem, slope)
    masks = all_masks(problem.layout.n)
    feasible = masks[[problem.feasible(mask) for mask in masks]]
    assert problem.feasible(~gone) and np.isclose(slope[gone].sum(), ((~feasible) @ slope).min())


@settings(max_examples=8)
@given(SEEDS, st.integers(0, 2), st.integers(6, 12))
def test_projection_is_feasible_and_nearer_than_any_mask(seed, floor, kept):
    problem = random_problem(seed, budget=kept, floor=floor)
    point = np.random.default_rng(seed).normal(size=problem.layout.n)
    nearest = projected(problem, point)
    assert np.isclose(nearest.sum(), problem.layout.n - kept)
    masks = all_masks(problem.layout.n)
    corners = 1.0 - masks[[problem.feasible(mask) for mask in masks]]
    assert ((corners - nearest) @ (point - nearest) <= 1e-6).all(), "the angle to every feasible point is obtuse"


@settings(max_examples=8)
@given(SEEDS, st.booleans(), st.integers(0, 2), st.integers(6, 12))
@pytest.mark.slow
def test_decided_filters_are_those_of_every_better_mask(seed, signed, floor, kept):
    problem = random_problem(seed, budget=kept, floor=floor, signed=signed)
    masks = all_masks(problem.layout.n)
    masks = masks[[problem.feasible(mask) for mask in masks]]
    damage = problem.damage(masks)
    incumbent = float(np.sort(damage)[min(3, len(damage) - 1)])
    stay, go = decided(problem, certificate(problem), incumbent)
    better = masks[damage < incumbent - 1e-9]
    assert better[:, stay].all() and not better[:, go].any()
