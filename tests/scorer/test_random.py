import numpy as np

from qprune_cli.scorer.random import Random


def test_random_scores_follow_the_seed(small_model, small_layout, small_splits):
    first, second = (Random().score(small_model, small_layout, small_splits, seed).linear for seed in (0, 1))
    assert not np.array_equal(first, second)
