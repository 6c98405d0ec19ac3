import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.errors import UserError
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scorer.fisher import Fisher
from qprune_cli.scorer.hybrid import Hybrid
from qprune_cli.scorer.l1 import L1
from qprune_cli.scorer.random import Random
from qprune_cli.scorer.taylor import Taylor
from qprune_cli.solver.annealing import Annealing
from qprune_cli.solver.greedy import Greedy
from qprune_cli.structure.gates import gate_statistics
from qprune_cli.structure.trace import trace
from qprune_cli.types import ImageSet, Pair, Splits


@pytest.fixture(scope="module")
def seen(small_model, small_layout, small_splits):
    return gate_statistics(small_model, small_layout, small_splits.calibration, "psnr", 8)


def three_filters():
    """One image of one pixel, 0.5; three filters 1, 2, -1 times it, summed; clean value 1."""
    model = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.ReLU(), nn.Conv2d(3, 1, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 2.0, -1.0]).view(3, 1, 1, 1))
        model[2].weight.fill_(1)
    pair = Pair("a", np.full((1, 1, 1), 0.5, np.float32), np.ones((1, 1, 1), np.float32))
    images = ImageSet((pair,))
    return model, trace(model), Splits(None, images, images, images)


def test_taylor_and_fisher_of_three_filters_by_hand():
    # activations 0.5, 1, 0; output 1.5; d(error**2) = 2 * 0.5 * activation = 0.5, 1, 0
    model, layout, splits = three_filters()
    taylor, fisher = Taylor(loss="mse").score(model, layout, splits, 0), Fisher(loss="mse").score(model, layout, splits, 0)
    assert np.allclose(taylor.linear[:2], [0.5, 1.0]) and np.allclose(fisher.linear[:2], [0.125, 0.5])
    assert taylor.dead.tolist() == fisher.dead.tolist() == [False, False, True]
    assert taylor.linear[2] < 0.5


def test_fisher_squares_every_image_before_the_mean(small_model, small_layout, small_splits, seen):
    scores = Fisher().score(small_model, small_layout, small_splits, 0)
    live = ~scores.dead
    assert np.allclose(scores.linear[live], (0.5 * np.square(seen.gradients).mean(axis=0))[live])
    assert not np.allclose(scores.linear[live], (0.5 * np.square(seen.gradients.mean(axis=0)))[live])


def test_l1_is_the_mean_absolute_weight():
    model, layout, splits = three_filters()
    assert L1().score(model, layout, splits, 0).linear.tolist() == [1, 2, 1]


def test_l1_pairs_couple_kernels_that_point_the_same_way():
    model, layout, splits = three_filters()
    pairs = L1(beta=1.0).score(model, layout, splits, 0).pairs
    assert (pairs.i.tolist(), pairs.j.tolist()) == ([0], [1])  # the third points the other way
    assert pairs.weight[0] > 0


def test_random_scores_follow_the_seed(small_model, small_layout, small_splits):
    first, second = (Random().score(small_model, small_layout, small_splits, seed).linear for seed in (0, 1))
    assert not np.array_equal(first, second)


def masks(scores, layout, solver, budget):
    return solver.solve(PruningProblem(layout, scores.linear, scores.pairs, budget), 0).keep


def test_hybrid_without_pairs_and_fisher_is_greedy_taylor_bit_for_bit(small_model, small_layout, small_splits):
    hybrid = Hybrid(taylor=1.0, fisher=0.0, beta=0.0).score(small_model, small_layout, small_splits, 0)
    taylor = Taylor().score(small_model, small_layout, small_splits, 0)
    annealing = Annealing(reads=3, sweeps=50, steps=10)
    for budget in range(len(small_layout.groups), small_layout.n, 5):
        assert np.array_equal(masks(hybrid, small_layout, annealing, budget), masks(taylor, small_layout, Greedy(), budget))


def test_hybrid_pairs_stay_within_layers_and_away_from_dead_filters(small_model, small_layout, small_splits):
    scores = Hybrid().score(small_model, small_layout, small_splits, 0)
    assert len(scores.pairs.i) > 0
    assert (small_layout.layer_of[scores.pairs.i] == small_layout.layer_of[scores.pairs.j]).all()
    assert not scores.dead[scores.pairs.i].any() and not scores.dead[scores.pairs.j].any()


@pytest.mark.parametrize("beta", [0.1, 3.0])
def test_full_discount_is_the_energy_of_the_kept_filters(small_model, small_layout, small_splits, beta):
    worth = Hybrid(beta=0.0).score(small_model, small_layout, small_splits, 0)
    scores = Hybrid(beta=beta, discount=1.0).score(small_model, small_layout, small_splits, 0)
    live = ~scores.dead
    assert np.allclose(scores.linear[live], (worth.linear - scores.pairs.row_sums(small_layout.n))[live])


@pytest.mark.parametrize(
    "settings", [{"beta": -1}, {"taylor": -1}, {"taylor": 0, "fisher": 0}, {"discount": 2}, {"loss": "pnsr"}, {"batch": 0}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        Hybrid(**settings)
