import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qprune_cli.problem.allocation import nearest_total
from qprune_cli.problem.budget import Budget, layer_counts
from qprune_cli.solver.greedy import Greedy
from qprune_cli.solver.profile import Profile
from tests.conftest import all_masks, best_damage, factored_problem, priced_problem, random_problem


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.booleans(), st.integers(0, 2), st.integers(6, 12), st.integers(1, 2))
@pytest.mark.slow
def test_couplings_within_layers_are_solved_to_the_optimum(seed, signed, floor, target, round_to):
    problem = random_problem(seed, floor=floor, signed=signed)
    counts = layer_counts(problem.layout, floor, round_to)
    problem = dataclasses.replace(problem, budget=Budget("filters", nearest_total(counts, target), counts))
    solved = Profile().solve(problem, 0)
    assert solved.feasible and np.isclose(solved.damage, best_damage(problem))


@pytest.mark.parametrize("build", [factored_problem, priced_problem])
def test_other_problems_are_feasible_and_as_good_as_greedy(build):
    damage = np.array([[solver.solve(build(seed), 0).damage for solver in (Profile(), Greedy())] for seed in range(10)])
    assert damage[:, 0].mean() <= damage[:, 1].mean()


def test_notes_hold_the_least_damage_of_every_number_of_filters():
    problem = random_problem(0)
    trace = Profile().solve(problem, 0).notes["trace"]
    masks = all_masks(problem.layout.n)
    masks = masks[[problem.budget.allows(problem.kept_per_layer(mask)) for mask in masks]]
    damage, kept = problem.damage(masks), masks.sum(axis=1)
    assert [row["kept"] for row in trace] == list(range(3, 13))
    assert all(np.isclose(row["damage"], damage[kept == row["kept"]].min()) for row in trace)


def test_the_trace_of_a_large_problem_has_at_most_200_rows():
    problem = random_problem(0, widths=(200, 150), budget=100)
    trace = Profile().solve(problem, 0).notes["trace"]
    assert len(trace) == 200 and trace[0]["kept"] == 2 and trace[-1]["kept"] == 350
