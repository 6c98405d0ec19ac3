import dataclasses

import numpy as np
import pytest

from qprune_cli.errors import UserError
from qprune_cli.problem.budget import Budget
from qprune_cli.solver.exact import Exact
from tests.conftest import all_masks, best_damage, factored_problem, priced_problem, random_problem


@pytest.mark.parametrize("build", [random_problem, priced_problem, factored_problem])
def test_it_finds_the_best_mask_and_proves_it(build):
    for seed in range(4):
        problem = build(seed)
        solved = Exact().solve(problem, 0)
        assert np.isclose(solved.damage, best_damage(problem)) and np.isclose(solved.bound, solved.damage)
        assert solved.notes["status"] == "optimal"


def test_too_many_filters_are_refused():
    with pytest.raises(UserError, match=r"solver=exact: 25 free filters mean 2\*\*25 choices; it stops at 24\. Try solver=scip"):
        Exact().solve(random_problem(0, widths=(20, 5), budget=10), 0)


def test_layers_that_cannot_change_are_not_free():
    problem = random_problem(0, widths=(30, 5), budget=33)
    counts = (np.array([30]), np.arange(1, 6))
    solved = Exact().solve(dataclasses.replace(problem, budget=Budget("filters", 33, counts)), 0)
    masks = np.hstack([np.ones((32, 30), bool), all_masks(5)])
    masks = masks[masks.sum(axis=1) == 33]
    assert np.isclose(solved.damage, problem.damage(masks).min()) and solved.notes["choices"] == 32
