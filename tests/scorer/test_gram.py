import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from qprune_cli.calibration.curvature import curvature
from qprune_cli.errors import UserError
from qprune_cli.evaluate.fidelity import mean_loss
from qprune_cli.problem.budget import Budget
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scorer.gram import Gram
from qprune_cli.search.moves import random_swaps


def problem_at(keep, gram, model, layout, splits):
    scores = gram.score(model, layout, splits, 0, keep)
    return PruningProblem(layout, scores.linear, scores.pairs, Budget.filters(layout, layout.n // 2, floor=0)), scores


@pytest.mark.parametrize("slope", ["teacher", "loss", "none"])
@settings(max_examples=4)
@given(seed=st.integers(0, 10**6))
def test_damage_is_the_second_order_model_around_the_mask(seed, slope, small_model, small_layout, small_splits):
    rng = np.random.default_rng(seed)
    keep, other = rng.uniform(size=(2, small_layout.n)) < 0.6
    problem, scores = problem_at(keep, Gram(probes=2, slope=slope), small_model, small_layout, small_splits)
    teacher = small_model if slope == "teacher" else None
    seen = curvature(small_model, small_layout, small_splits.calibration, "psnr", 8, keep, 2, 0, teacher)
    step = other.astype(float) - keep
    step[scores.dead] = 0
    expected = (slope != "none") * seen.gradient @ step + 0.5 * np.square(seen.factor @ step).sum()
    damage = problem.damage(np.stack([other, keep]))
    assert damage[0] - damage[1] == pytest.approx(expected, abs=1e-6 * max(1, np.abs(scores.linear).sum()))


def test_it_predicts_swaps_at_the_mask(small_model, small_layout, small_splits):
    keep = np.random.default_rng(1).uniform(size=small_layout.n) < 0.6
    problem, scores = problem_at(keep, Gram(slope="loss"), small_model, small_layout, small_splits)
    swaps = random_swaps(problem, keep, scores.dead, 40, np.random.default_rng(0))
    masks = np.repeat(keep[None], len(swaps), axis=0)
    for mask, (i, j) in zip(masks, swaps, strict=True):
        mask[i], mask[j] = False, True
    true = [mean_loss(small_model, small_layout, mask, small_splits.calibration, "psnr") for mask in masks]
    assert spearmanr(problem.damage(masks), true).statistic > 0.8


@pytest.mark.parametrize(("reach", "separable"), [("network", False), ("layer", True), ("none", True)])
def test_reach_says_which_filters_are_coupled(reach, separable, small_model, small_layout, small_splits):
    whole = Gram().score(small_model, small_layout, small_splits, 0)
    scores = Gram(reach=reach).score(small_model, small_layout, small_splits, 0)
    assert scores.pairs.separable == separable and scores.pairs.empty == (reach == "none")
    assert np.allclose(scores.linear[~scores.dead], whole.linear[~scores.dead])
    if reach == "layer":
        for block, part in zip(scores.pairs.blocks, small_layout.split(whole.pairs.factor.T).values(), strict=True):
            assert np.allclose(block, part @ part.T * (1 - np.eye(len(part))))


def test_shrinking_takes_the_same_share_of_every_coupling_and_leaves_each_filter_alone(small_model, small_layout, small_splits):
    full, half = (Gram(shrink=s).score(small_model, small_layout, small_splits, 0) for s in (0.0, 0.5))
    everything = np.arange(small_layout.n)
    assert np.allclose(half.pairs.between(everything, everything), 0.5 * full.pairs.between(everything, everything))
    assert np.allclose(half.linear, full.linear)


def test_found_shrinking_takes_as_much_as_the_halves_disagree(small_model, small_layout, small_splits):
    full, found = (Gram(shrink=s).score(small_model, small_layout, small_splits, 0) for s in (0.0, -1))
    left = curvature(small_model, small_layout, small_splits.calibration, "psnr", 8, None, 4, 0).agreement()
    everything = np.arange(small_layout.n)
    assert np.allclose(found.pairs.between(everything, everything), left * full.pairs.between(everything, everything))


def test_dead_filters_are_worth_next_to_nothing_those_with_smaller_weights_least(small_model, small_layout, small_splits):
    scores = Gram().score(small_model, small_layout, small_splits, 0)
    if scores.dead.any():
        assert 0 <= scores.linear[scores.dead].max() <= 1e-9 * np.abs(scores.linear).max()


@pytest.mark.parametrize(
    "bad", [{"probes": -1}, {"slope": "student"}, {"reach": "layers"}, {"shrink": 2.0}, {"loss": "ssim"}, {"batch": 0}]
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        Gram(**bad)


def test_it_predicts_what_each_filter_alone_costs_the_dense_network(small_model, small_layout, small_splits):
    keep = np.ones(small_layout.n, bool)
    problem, scores = problem_at(keep, Gram(probes=16, slope="loss"), small_model, small_layout, small_splits)
    live = np.flatnonzero(~scores.dead)
    masks = np.repeat(keep[None], len(live), axis=0)
    masks[np.arange(len(live)), live] = False
    start = mean_loss(small_model, small_layout, keep, small_splits.calibration, "psnr")
    true = np.array([mean_loss(small_model, small_layout, mask, small_splits.calibration, "psnr") for mask in masks]) - start
    assert np.corrcoef(problem.damage(masks), true)[0, 1] > 0.8
