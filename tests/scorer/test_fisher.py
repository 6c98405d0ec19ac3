import numpy as np

from qprune_cli.calibration.gates import gate_statistics
from qprune_cli.scorer.fisher import Fisher
from qprune_cli.types import ImageSet
from tests.scorer.conftest import three_filters


def test_fisher_of_three_filters_by_hand():
    # gate gradients 0.5, 1, 0, as for Taylor
    model, layout, splits = three_filters()
    scores = Fisher(loss="mse").score(model, layout, splits, 0)
    assert np.allclose(scores.linear[:2], [0.125, 0.5]) and scores.linear[2] < 0.125
    assert scores.dead.tolist() == [False, False, True]


def test_fisher_squares_every_image_before_the_mean(small_model, small_layout, small_splits):
    scores = Fisher().score(small_model, small_layout, small_splits, 0)
    live, images = ~scores.dead, small_splits.calibration
    slopes = [gate_statistics(small_model, small_layout, ImageSet((pair,)), "psnr", 1).mean for pair in images.pairs]
    assert np.allclose(scores.linear[live], (0.5 * np.square(slopes).mean(axis=0))[live], rtol=1e-3)
    assert not np.allclose(scores.linear[live], (0.5 * np.square(np.mean(slopes, axis=0)))[live], rtol=1e-3)
