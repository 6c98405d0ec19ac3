import numpy as np

from qprune_cli.scorer.taylor import Taylor
from tests.scorer.conftest import three_filters


def test_taylor_of_three_filters_by_hand():
    # activations 0.5, 1, 0; output 1.5; d(error**2) = 2 * 0.5 * activation = 0.5, 1, 0
    model, layout, splits = three_filters()
    scores = Taylor(loss="mse").score(model, layout, splits, 0)
    assert np.allclose(scores.linear[:2], [0.5, 1.0]) and scores.linear[2] < 0.5
    assert scores.dead.tolist() == [False, False, True]
