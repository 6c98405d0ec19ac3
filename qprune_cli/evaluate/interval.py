"""Confidence intervals by bootstrap over images."""

import numpy as np

from qprune_cli.types import Floats

RESAMPLES = 2000


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
    means = rng.choice(values, size=(RESAMPLES, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
