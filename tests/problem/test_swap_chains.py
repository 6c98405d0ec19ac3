import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qprune_cli.problem.local_search import repaired
from qprune_cli.problem.swap_chains import SwapChains
from qprune_cli.problem.walk import Walk
from tests.conftest import factored_problem, priced_problem, random_problem


@pytest.mark.parametrize("build", [random_problem, factored_problem, priced_problem])
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_damages_and_marginals_stay_right_and_numbers_allowed(build, seed):
    problem, rng = build(seed), np.random.default_rng(seed)
    starts = np.stack([repaired(problem, rng.uniform(size=problem.layout.n) < 0.5) for _ in range(3)])
    chains = SwapChains(problem, starts)
    for _ in range(30):
        chains.step(rng, 1.0)
    assert np.allclose(chains.damage, problem.damage(chains.keep))
    assert np.allclose(chains.best_damage, problem.damage(chains.best)) and (chains.best_damage <= problem.damage(starts) + 1e-9).all()
    for keep, marginal, kept in zip(chains.keep, chains.marginal, chains.kept, strict=True):
        assert np.allclose(marginal, Walk(problem, keep).marginal)
        assert kept.tolist() == problem.kept_per_layer(keep).tolist() and problem.budget.allows(kept)
        assert not problem.budget.exact or keep.sum() == problem.budget.limit
