"""How many filters each layer keeps: which numbers are allowed, which totals they reach, which are best.

Processors compute blocks of 8 or 16 channels at a time, so a layer of 33 channels costs as much as one of 48. With ``round_to`` every
layer keeps a multiple of it, or all.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qprune_cli.types import Floats, Ints


def allowed_counts(width: int, floor: int, round_to: int) -> Ints:
    """Numbers of filters that a layer may keep, rising: multiples of ``round_to`` that are no less than ``floor``, and all.

    Example:
        >>> allowed_counts(20, floor=1, round_to=8).tolist()
        [8, 16, 20]
    """
    counts = np.arange(floor, width + 1)
    return np.asarray(counts[(counts % round_to == 0) | (counts == width)])


def nearest_total(counts: Sequence[Ints], asked: int) -> int:
    """The sum of one allowed count per layer that is nearest to what was asked; of two, the smaller.

    Args:
        counts: (l) allowed counts of each layer.
        asked: filters to keep in all.
    """
    reachable = np.zeros(sum(int(options[-1]) for options in counts) + 1, bool)
    reachable[0] = True
    for options in counts:
        reachable = np.logical_or.reduce([_shifted(reachable, int(k), False) for k in options])
    totals = np.flatnonzero(reachable)
    return int(totals[np.abs(totals - asked).argmin()])


def best_counts(counts: Sequence[Ints], costs: Sequence[Floats], total: int) -> list[int]:
    """Choose one allowed count per layer, so that they add up to a total and their costs are least (dynamic programming).

    Args:
        counts: (l) allowed counts of each layer.
        costs: (l) what each of them costs.
        total: filters to keep in all; reachable.

    Example:
        >>> best_counts([np.array([1, 2]), np.array([1, 3])], [np.array([5.0, 0.0]), np.array([1.0, 0.0])], total=4)
        [1, 3]
    """
    least = np.full(total + 1, np.inf)
    least[0] = 0
    choices = []
    for options, cost in zip(counts, costs, strict=True):
        candidates = np.stack([_shifted(least, int(k), np.inf) + c for k, c in zip(options, cost, strict=True)])
        choices.append(candidates.argmin(axis=0))
        least = candidates.min(axis=0)
    assert np.isfinite(least[total]), "the total is one that the counts can reach"
    chosen: list[int] = []
    for options, choice in zip(reversed(counts), reversed(choices), strict=True):
        chosen.append(int(options[choice[total]]))
        total -= chosen[-1]
    return chosen[::-1]


def _shifted(values: NDArray[Any], by: int, fill: float) -> NDArray[Any]:
    moved = np.full_like(values, fill)
    moved[by:] = values[: max(len(values) - by, 0)]
    return moved
