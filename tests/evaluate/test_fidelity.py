import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qprune_cli.evaluate.fidelity import correlation, fidelity, mean_loss, random_swaps
from qprune_cli.structure.loss import LOSSES
from qprune_cli.structure.silence import silence
from tests.conftest import random_problem


@given(st.integers(0, 10**6), st.integers(1, 30))
def test_swaps_are_distinct_pairs_of_a_kept_and_a_dropped_live_filter_and_respect_the_layers(seed, count):
    problem = random_problem(seed, budget=7)
    rng = np.random.default_rng(seed)
    dead, keep = rng.uniform(size=12) < 0.3, rng.permutation(12) < 7
    gives, takes = rng.uniform(size=(2, 3)) < 0.5
    swaps = random_swaps(keep, dead, problem.layer_of, gives, takes, count, seed)
    assert len({tuple(swap) for swap in swaps.tolist()}) == len(swaps) <= count
    for i, j in swaps:
        a, b = problem.layer_of[i], problem.layer_of[j]
        assert keep[i] and not keep[j] and (a == b or (gives[a] and takes[b]))
        assert not dead[i] or not (~dead & keep).any()
        assert not dead[j] or not (~dead & ~keep).any()


def test_the_true_objective_has_fidelity_1_and_its_opposite_minus_1():
    problem = random_problem(0, budget=6, signed=True)
    keep = np.random.default_rng(0).permutation(12) < 6
    swaps = random_swaps(keep, np.zeros(12, bool), problem.layer_of, np.ones(3, bool), np.ones(3, bool), 20, 0)
    objectives = {"same": problem.damage, "opposite": lambda masks: -problem.damage(masks), "constant": lambda masks: np.zeros(len(masks))}
    told = fidelity(lambda mask: float(problem.damage(mask[None])[0]), objectives, keep, swaps)
    assert told["same"]["correlation"] == pytest.approx(1) and told["opposite"]["correlation"] == pytest.approx(-1)
    assert told["constant"] == {"correlation": None, "ci95": None}
    assert len(told["true"]) == told["swaps"] == len(swaps)


def test_the_interval_of_a_correlation_holds_it_and_narrows_with_more_swaps():
    rng = np.random.default_rng(0)
    widths = []
    for count in (20, 200):
        x = rng.normal(size=count)
        told = correlation(x + rng.normal(size=count), x)
        low, high = told["ci95"]
        assert low <= told["correlation"] <= high
        widths.append(high - low)
    assert widths[1] < widths[0]


def test_mean_loss_is_that_of_the_silenced_network(small_model, small_layout, small_splits):
    keep = np.random.default_rng(0).uniform(size=small_layout.n) < 0.6
    images = small_splits.calibration
    with silence(small_model, small_layout, keep), torch.no_grad():
        each = [LOSSES["psnr"](small_model(torch.from_numpy(p.noisy[None])), torch.from_numpy(p.clean[None])) for p in images.pairs]
    assert mean_loss(small_model, small_layout, keep, images, "psnr", batch=3) == pytest.approx(float(torch.cat(each).mean()), abs=1e-5)
