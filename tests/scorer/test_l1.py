from qprune_cli.scorer.l1 import L1
from tests.scorer.conftest import three_filters


def test_l1_is_the_mean_absolute_weight():
    model, layout, splits = three_filters()
    assert L1().score(model, layout, splits, 0).linear.tolist() == [1, 2, 1]


def test_l1_pairs_couple_kernels_that_point_the_same_way():
    model, layout, splits = three_filters()
    pairs = L1(beta=1.0).score(model, layout, splits, 0).pairs
    i, j, weight = pairs.entries(layout.n)
    assert (i.tolist(), j.tolist()) == ([0], [1])  # the third points the other way
    assert weight[0] > 0
