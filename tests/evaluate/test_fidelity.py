import numpy as np
import pytest
import torch

from qprune_cli.calibration.loss import LOSSES
from qprune_cli.evaluate.fidelity import correlation, fidelity, mean_loss
from qprune_cli.search.moves import random_swaps
from qprune_cli.surgery.silence import silence
from tests.conftest import random_problem


def test_the_true_objective_has_fidelity_1_and_its_opposite_minus_1():
    problem = random_problem(0, budget=6, signed=True)
    keep = np.random.default_rng(0).permutation(12) < 6
    swaps = random_swaps(problem, keep, np.zeros(12, bool), 20, np.random.default_rng(0))
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
        each = [LOSSES["psnr"](small_model(torch.from_numpy(p.input[None])), torch.from_numpy(p.target[None])) for p in images.pairs]
    assert mean_loss(small_model, small_layout, keep, images, "psnr", batch=3) == pytest.approx(float(torch.cat(each).mean()), abs=1e-5)
