import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qprune_cli.problem.shift import tuned_shift, uniform_shift


@given(st.integers(0, 10**6), st.integers(1, 12))
def test_shifted_couplings_are_convex_and_a_tuned_diagonal_costs_no_more(seed, width):
    rng = np.random.default_rng(seed)
    half = np.triu(rng.normal(size=(width, width)), 1)
    block, weight = half + half.T, rng.uniform(0.01, 1, size=width)
    shift = tuned_shift(block, weight)
    for diagonal in (shift, np.full(width, uniform_shift(block))):
        assert np.linalg.eigvalsh(block + np.diag(diagonal)).min() >= -1e-9
    assert weight @ shift <= uniform_shift(block) * weight.sum() * 1.02 + 1e-9


def test_a_lone_pair_is_shifted_where_that_costs_least():
    block = np.array([[0.0, 1.0], [1.0, 0.0]])
    shift = tuned_shift(block, np.array([1.0, 0.01]))
    assert np.isclose(shift[0] * shift[1], 1, atol=0.1) and shift[0] < 0.3
