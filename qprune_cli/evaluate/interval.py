"""Confidence intervals: by bootstrap over images, by Student's t over repetitions."""

import numpy as np
from scipy.special import stdtrit

from qprune_cli.types import Floats

RESAMPLES = 2000
AT_ONCE = 2**22  # values that are drawn at a time, which changes no draw


def ci95(values: Floats) -> tuple[float, float]:
    """95 % percentile-bootstrap interval of the mean; the same values give the same interval.

    For a paired comparison pass the differences, image by image: an interval that holds 0 means no difference.

    Args:
        values: (N,) one value per image.

    Example:
        >>> ci95(np.array([1.0, 1.0, 1.0]))
        (1.0, 1.0)
    """
    rng = np.random.default_rng(0)
    rows = max(1, AT_ONCE // len(values))
    parts = [min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows)]
    means = np.concatenate([rng.choice(values, size=(part, len(values))).mean(axis=1) for part in parts])
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def t95(values: Floats) -> tuple[float, float] | None:
    """95 % interval of the mean of few repetitions, by Student's t: ``mean +- t(0.975, N - 1) s / sqrt(N)``; None for fewer than two.

    Args:
        values: (N,) one value, or one paired difference, per seed.

    Example:
        >>> low, high = t95(np.array([1.0, 2.0, 3.0]))
        >>> round(low, 3), round(high, 3)
        (-0.484, 4.484)
    """
    if len(values) < 2:
        return None
    mean = float(values.mean())
    half = float(stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean - half, mean + half
