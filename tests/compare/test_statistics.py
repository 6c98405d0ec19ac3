from itertools import product

import numpy as np
import pytest
from scipy.stats import ttest_rel

from qprune_cli.compare.statistics import FLIPS, holm, paired_t, sign_flips


def test_sign_flips_agree_with_all_flips():
    rows = np.random.default_rng(1).normal(0.3, 1, (5, 10))
    signs = np.array(list(product([-1, 1], repeat=10)))
    exact = [(np.abs(signs @ row) >= abs(row.sum()) - 1e-12).mean() for row in rows]
    np.testing.assert_allclose(sign_flips(rows), exact, atol=4 * 0.5 / np.sqrt(FLIPS))


def test_sign_flips_of_no_difference_is_1_and_of_a_clear_one_is_never_0():
    p = sign_flips(np.array([np.zeros(40), np.ones(40), np.tile([1.0, -1.0], 20)]))
    assert p[0] == 1 and p[1] == 1 / (FLIPS + 1) and p[2] == 1


def test_sign_flips_are_the_same_alone_and_among_others():
    rows = np.random.default_rng(2).normal(0.2, 1, (3, 25))
    assert sign_flips(rows)[1] == sign_flips(rows[1:2])[0]


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_paired_t_is_that_of_scipy(seeds):
    rng = np.random.default_rng(seeds)
    first, second = rng.normal(30, 1, seeds), rng.normal(30.5, 1, seeds)
    assert paired_t(first - second) == pytest.approx(ttest_rel(first, second).pvalue, rel=1e-9)


def test_paired_t_of_seeds_that_agree_to_the_last_bit():
    assert paired_t(np.zeros(3)) == 1 and paired_t(np.full(3, 0.1)) == 0


def test_holm_rejects_what_stepping_down_rejects():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = np.round(rng.uniform(0, 0.1, rng.integers(1, 7)), 3)
        adjusted = holm(p)
        for level in (0.01, 0.05, 0.2):
            rejected, left = set(), list(np.argsort(p, kind="stable"))
            while left and p[left[0]] <= level / len(left) + 1e-15:
                rejected.add(left.pop(0))
            assert {k for k in range(len(p)) if adjusted[k] <= level + 1e-12} == rejected


def test_holm_counts_only_rows_with_a_test():
    np.testing.assert_allclose(holm(np.array([np.nan, 0.02, np.nan])), [np.nan, 0.02, np.nan])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1] and len(holm(np.array([]))) == 0


def test_differences_that_are_no_numbers_have_no_p():
    assert np.isnan(sign_flips(np.array([[np.nan, 1.0, 1.0]]))).all()


def test_one_image_shows_nothing():
    assert sign_flips(np.array([[3.0]]))[0] == 1
