"""Confidence intervals: by bootstrap over images, by Student's t over repetitions."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from qprune_cli.types import Floats

RESAMPLES = 2000
AT_ONCE = 2**22  # values that are drawn at a time, which changes no draw


def ci95(values: Floats) -> Floats:
    """95 % percentile-bootstrap interval of the mean; the same values give the same interval.

    For a paired comparison pass the differences, image by image: an interval that holds 0 means no difference.

    Args:
        values: (N,) one value per image, or (r, N) for r rows of a table, which all get the same draws.

    Returns:
        (2,) low and high, or (r, 2).

    Example:
        >>> ci95(np.array([1.0, 1.0, 1.0])).tolist()
        [1.0, 1.0]
        >>> ci95(np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])).tolist()
        [[1.0, 1.0], [2.0, 2.0]]
    """
    rng, count = np.random.default_rng(0), values.shape[-1]
    means = [_means(values, rng.integers(count, size=(part, count))) for part in parts(RESAMPLES, count)]
    ends: Floats = np.percentile(np.concatenate(means), [2.5, 97.5], axis=0).T
    return ends


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


def parts(total: int, count: int) -> Iterator[int]:
    """How many of ``total`` draws, of ``count`` numbers each, are made at a time: as many as fit into ``AT_ONCE`` numbers."""
    rows = max(1, AT_ONCE // count)
    return (min(rows, total - start) for start in range(0, total, rows))


def _means(values: Floats, drawn: NDArray[np.int64]) -> Floats:
    """(part,) means over the (part, N) drawn images, or (part, r).

    Many rows share one product with how often each image was drawn. It rounds otherwise than a mean does, so a single row, whose
    interval stands in the files of a run, stays a mean.
    """
    part, count = drawn.shape
    if values.ndim == 1:
        means: Floats = values[drawn].mean(axis=1)
    else:
        at = (drawn + count * np.arange(part)[:, None]).ravel()
        means = np.bincount(at, minlength=drawn.size).reshape(part, count).astype(np.float64) @ values.T / count
    return means
