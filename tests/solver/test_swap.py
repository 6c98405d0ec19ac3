import numpy as np
import pytest

from qprune_cli.errors import UserError
from qprune_cli.solver.greedy import Greedy
from qprune_cli.solver.swap import Swap
from tests.conftest import best_damage, factored_problem, priced_problem, random_problem


@pytest.mark.parametrize("seed", range(5))
def test_small_problems_are_solved_to_the_optimum(seed):
    for problem in (random_problem(seed), random_problem(seed, signed=True), factored_problem(seed)):
        assert np.isclose(Swap().solve(problem, seed).damage, best_damage(problem))


@pytest.mark.parametrize("build", [random_problem, factored_problem, priced_problem])
def test_it_is_never_worse_than_greedy(build):
    for seed in range(3):
        for sweeps in (0, 2):
            problem = build(seed, widths=(9, 7, 8))
            assert Swap(chains=3, sweeps=sweeps).solve(problem, seed).damage <= Greedy().solve(problem, seed).damage + 1e-12


@pytest.mark.parametrize("name", ["chains", "sweeps"])
def test_counts_that_mean_nothing_are_refused(name):
    with pytest.raises(UserError, match=f"solver.{name}=-1"):
        Swap(**{name: -1})
