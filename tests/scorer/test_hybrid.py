import numpy as np
import pytest

from qprune_cli.errors import UserError
from qprune_cli.problem.budget import Budget
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scorer.hybrid import Hybrid
from qprune_cli.scorer.taylor import Taylor
from qprune_cli.solver.annealing import Annealing
from qprune_cli.solver.greedy import Greedy


def masks(scores, layout, solver, budget):
    return solver.solve(PruningProblem(layout, scores.linear, scores.pairs, Budget.filters(layout, budget)), 0).keep


def test_hybrid_without_pairs_and_fisher_is_greedy_taylor_bit_for_bit(small_model, small_layout, small_splits):
    hybrid = Hybrid(taylor=1.0, fisher=0.0, beta=0.0).score(small_model, small_layout, small_splits, 0)
    taylor = Taylor().score(small_model, small_layout, small_splits, 0)
    annealing = Annealing(reads=3, sweeps=50, steps=10)
    for budget in range(len(small_layout.groups), small_layout.n, 5):
        assert np.array_equal(masks(hybrid, small_layout, annealing, budget), masks(taylor, small_layout, Greedy(), budget))


def test_hybrid_pairs_stay_within_layers_and_away_from_dead_filters(small_model, small_layout, small_splits):
    scores = Hybrid().score(small_model, small_layout, small_splits, 0)
    i, j, _ = scores.pairs.entries(small_layout.n)
    assert len(i) > 0 and scores.pairs.separable
    assert not scores.dead[i].any() and not scores.dead[j].any()


@pytest.mark.parametrize("beta", [0.1, 3.0])
def test_full_discount_is_the_energy_of_the_kept_filters(small_model, small_layout, small_splits, beta):
    worth = Hybrid(beta=0.0).score(small_model, small_layout, small_splits, 0)
    scores = Hybrid(beta=beta, discount=1.0).score(small_model, small_layout, small_splits, 0)
    live = ~scores.dead
    assert np.allclose(scores.linear[live], (worth.linear - scores.pairs.sums(small_layout.n)[1])[live])


@pytest.mark.parametrize(
    "settings", [{"beta": -1}, {"taylor": -1}, {"taylor": 0, "fisher": 0}, {"discount": 2}, {"loss": "pnsr"}, {"batch": 0}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        Hybrid(**settings)
