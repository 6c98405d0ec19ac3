import dataclasses

import numpy as np
import pytest

from qprune_cli.errors import UserError
from qprune_cli.problem.budget import Budget, layer_counts
from qprune_cli.scores import Pairs
from qprune_cli.solver.exact import Exact
from qprune_cli.solver.profile import Profile
from qprune_cli.solver.scip import Scip
from tests.conftest import factored_problem, priced_problem, random_problem


def rounded(seed):
    problem = random_problem(seed, widths=(6, 5))
    return dataclasses.replace(problem, budget=Budget("filters", 6, layer_counts(problem.layout, 2, 2)))


@pytest.mark.parametrize(
    "build", [random_problem, lambda seed: random_problem(seed, signed=True), priced_problem, factored_problem, rounded]
)
@pytest.mark.slow
def test_it_agrees_with_enumeration_and_proves_it(build):
    for seed in range(4):
        problem = build(seed)
        solved, exact = Scip().solve(problem, 0), Exact().solve(problem, 0)
        assert solved.feasible and np.isclose(solved.damage, exact.damage)
        assert solved.notes["status"] == "optimal"
        assert exact.damage - 1e-4 * (1 + abs(exact.damage)) <= solved.bound <= exact.damage + 1e-9


def test_a_layer_of_32_is_proven():
    rng = np.random.default_rng(0)
    problem = random_problem(0, widths=(32,), budget=16)
    block = np.square(np.corrcoef(rng.normal(size=(32, 40)))) / 8
    problem = dataclasses.replace(problem, pairs=Pairs((block,)))
    solved = Scip(seconds=30).solve(problem, 0)
    assert solved.notes["status"] == "optimal" and np.isclose(solved.damage, Profile().solve(problem, 0).damage)


def test_without_time_it_returns_the_warm_start_and_the_certificate():
    problem = random_problem(0, widths=(20, 20), budget=20)
    solved = Scip(seconds=0).solve(problem, 0)
    assert solved.notes["status"] == "time limit" and solved.feasible
    assert solved.damage == Profile().solve(problem, 0).damage and solved.bound <= solved.damage


def test_a_cost_that_is_no_quadratic_function_of_the_numbers_is_refused():
    with pytest.raises(UserError, match=r"solver=scip budget=params: .* solver=profile"):
        Scip().solve(priced_problem(0, union=True), 0)


@pytest.mark.parametrize("name", ["seconds", "gap"])
def test_limits_below_0_are_refused(name):
    with pytest.raises(UserError, match=rf"solver\.{name}=-1"):
        Scip(**{name: -1.0})
