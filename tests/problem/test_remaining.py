import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.remaining import Remaining
from qprune_cli.scores import Pairs
from tests.conftest import all_masks, random_problem


@given(st.integers(0, 10**6), st.booleans())
def test_damage_among_the_remaining_is_that_of_the_whole_less_what_is_gone(seed, factored):
    whole = random_problem(seed, budget=4, floor=0, signed=True)
    rng = np.random.default_rng(seed)
    if factored:
        pairs = Pairs(whole.pairs.blocks, rng.normal(size=(3, 12)))
        whole = PruningProblem(whole.layout, whole.linear, pairs, whole.budget)
    left = np.zeros(12, bool)
    left[rng.choice(12, 7, replace=False)] = True
    remaining = Remaining(whole, left)
    part = remaining.problem
    masks = all_masks(7)
    full = np.stack([remaining.expanded(mask) for mask in masks])
    assert not full[:, ~left].any()
    assert np.allclose(part.damage(masks) + remaining.damage_before, whole.damage(full))
    assert [part.feasible(mask) for mask in masks] == [whole.feasible(mask) for mask in full]


def test_with_nothing_gone_it_is_the_same_problem():
    whole = random_problem(1)
    part = Remaining(whole, np.ones(12, bool)).problem
    masks = all_masks(12)
    assert np.allclose(part.damage(masks), whole.damage(masks)) and part.budget.limit == whole.budget.limit
