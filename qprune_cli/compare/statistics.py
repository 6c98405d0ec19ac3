"""Tests for all rows of a table at once."""

import numpy as np
from scipy.special import stdtr

from qprune_cli.evaluate.interval import parts
from qprune_cli.types import Floats

FLIPS = 10_000
ROUNDING = 1e-9  # relative difference between sums of the same numbers


def sign_flips(differences: Floats) -> Floats:
    """Two-sided p of each row's mean against 0, by a permutation test: under no difference every image's sign is a coin.

    ``p = (1 + #{flips with |mean| at least the true one}) / (1 + 10,000)``, with the same flips for all rows, and always the same.

    Args:
        differences: (r, N) one paired difference per image.

    Returns:
        (r,) p; nan where a difference is no number, as of two infinite values.

    References:
        Fisher, "The Design of Experiments", 1935, section 21; Phipson and Smyth, "Permutation p-values should never be zero", 2010.
    """
    rng, (rows, count) = np.random.default_rng(0), differences.shape
    at_least = np.zeros(rows)
    scale = np.abs(differences).sum(axis=1)
    true = np.abs(differences.sum(axis=1)) - ROUNDING * scale
    for part in parts(FLIPS, count):
        signs = rng.integers(2, size=(part, count), dtype=np.int8).astype(np.float64) * 2 - 1
        at_least += (np.abs(signs @ differences.T) >= true).sum(axis=0)
    p: Floats = np.where(np.isfinite(scale), (1 + at_least) / (1 + FLIPS), np.nan)
    return p


def paired_t(differences: Floats) -> float:
    """Two-sided p of Student's t test of the mean of paired differences against 0.

    Args:
        differences: (s,) at least two, one per seed.

    Example:
        >>> round(paired_t(np.array([1.0, 2.0, 3.0])), 4)
        0.0742
    """
    mean, error = float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))
    if error <= ROUNDING * abs(mean):
        return float(mean == 0)
    return float(2 * stdtr(len(differences) - 1, -abs(mean) / error))


def holm(p: Floats) -> Floats:
    """Adjust (m,) values of p for their number; a row without a test (nan) counts for none.

    The k-th smallest of m becomes ``max over j <= k of min(1, (m - j + 1) p_(j))``, which keeps the chance of any false find below
    the level whatever the tests have in common.

    References:
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.

    Example:
        >>> holm(np.array([0.01, 0.04, np.nan, 0.03])).tolist()
        [0.03, 0.06, nan, 0.06]
    """
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted
