import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qprune_cli.errors import UserError
from qprune_cli.problem.budget import Budget, layer_counts
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Pairs
from qprune_cli.types import FilterGroup, Layout
from tests.conftest import all_masks, random_problem


def test_damage_of_three_filters_by_hand():
    layout = Layout((FilterGroup("a", "a", 3),))
    pairs = Pairs.listed(layout, np.array([0, 1]), np.array([1, 2]), np.array([10.0, 100.0]))
    problem = PruningProblem(layout, np.array([1.0, 2.0, 3.0]), pairs, Budget.filters(layout, 1))
    keep = np.array([[True, True, True], [False, True, True], [False, False, True], [True, False, False]])
    assert problem.damage(keep).tolist() == [0, 1, 1 + 2 + 10, 2 + 3 + 100]


@given(st.integers(0, 10**6), st.booleans())
def test_linear_terms_less_all_couplings_are_the_energy_of_the_kept_filters(seed, signed):
    template = random_problem(seed, signed=signed)
    worth, pairs = template.linear, template.pairs
    problem = PruningProblem(
        template.layout, worth - pairs.sums(template.layout.n)[1] - pairs.sums(template.layout.n)[0], pairs, template.budget
    )
    keep = all_masks(template.layout.n)
    x = keep.astype(float)
    i, j, weight = pairs.entries(template.layout.n)
    energy = -x @ worth + (x[:, i] * x[:, j]) @ weight
    assert np.allclose(problem.damage(keep) - energy, worth.sum() - weight.sum())


@pytest.mark.parametrize(("sparsity", "kept"), [(0.0, 768), (0.36, 492), (0.5, 384), (0.75, 192)])
def test_sparsity_of_a_half_unet_keeps_the_exact_count(sparsity, kept):
    layout = Layout(tuple(FilterGroup(str(k), str(k), 64) for k in range(12)))
    assert Budget.share(layout, sparsity, layer_counts(layout, 1)).limit == kept


@pytest.mark.parametrize(("budget", "floor"), [(2, 1), (12, 4), (13, 1), (0, 0)])
def test_unreachable_targets_are_refused(budget, floor):
    with pytest.raises(UserError, match=r"floor|limits"):
        random_problem(0, budget=budget, floor=floor)


def test_arrays_of_a_problem_cannot_be_changed():
    problem = random_problem(0)
    with pytest.raises(ValueError, match="read-only"):
        problem.pairs.blocks[0][0, 1] = 1
