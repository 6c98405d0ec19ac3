"""How many filters each layer keeps: which numbers are allowed, which totals they reach, which are best.

Processors compute blocks of 8 or 16 channels at a time, so a layer of 33 channels costs as much as one of 48. With ``round_to`` every
layer keeps a multiple of it, or all.
"""

from collections.abc import Sequence
from functools import reduce
from operator import or_

import numpy as np

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
    reachable = 1  # bit k: the total k can be reached
    for options in counts:
        reachable = reduce(or_, (reachable << k for k in options.tolist()))
    for distance in range(max(asked, reachable.bit_length()) + 1):
        for total in (asked - distance, asked + distance):
            if total >= 0 and reachable >> total & 1:
                return total
    raise AssertionError("every layer has a count")


def best_counts(counts: Sequence[Ints], costs: Sequence[Floats], total: int) -> list[int]:
    """Choose one allowed count per layer, so that they add up to a total and their costs are least.

    At the right price per filter nearly every layer's best count is the one of the optimum, and no count can be part of the optimum
    whose cost at that price is further above the layer's least than the gap between some choice and the sum of all layers' least. So
    dynamic programming looks at few counts, and is exact.

    Args:
        counts: (l) allowed counts of each layer.
        costs: (l) what each of them costs.
        total: filters to keep in all; reachable.

    References:
        Everett, "Generalized Lagrange multiplier method for solving problems of optimum allocation of resources", 1963.

    Example:
        >>> best_counts([np.array([1, 2]), np.array([1, 3])], [np.array([5.0, 0.0]), np.array([1.0, 0.0])], total=4)
        [1, 3]
    """
    price = _price(counts, costs, total)
    priced = [cost - price * options for options, cost in zip(counts, costs, strict=True)]
    excess = [values - values.min() for values in priced]
    everything = np.sort(np.concatenate(excess))
    gap = float(everything[min(4 * len(counts), len(everything) - 1)])
    while True:
        near = [values <= gap for values in excess]
        found = _added(
            [options[chosen] for options, chosen in zip(counts, near, strict=True)],
            [values[chosen] for values, chosen in zip(excess, near, strict=True)],
            total,
        )
        if found is not None and (found[0] <= gap or gap >= everything[-1]):
            return found[1]
        assert gap < everything[-1], "the total is one that the counts can reach"
        gap = min(max(4 * gap, float(everything[-1]) * 1e-9), float(everything[-1])) if found is None else found[0]


def _price(counts: Sequence[Ints], costs: Sequence[Floats], total: int) -> float:
    """The price of a filter at which the layers on their own come nearest to a total."""
    flat, values = np.concatenate(list(counts)), np.concatenate(list(costs))
    starts = np.concatenate([[0], np.cumsum([len(options) for options in counts])[:-1]])
    span = float(values.max() - values.min()) + 1.0
    low, high = -span, span
    for _ in range(64):
        price = (low + high) / 2
        reduced = values - price * flat
        at_least = reduced == np.repeat(np.minimum.reduceat(reduced, starts), np.diff([*starts, len(flat)]))
        kept = np.maximum.reduceat(np.where(at_least, flat, -1), starts).sum()
        low, high = (price, high) if kept < total else (low, price)
    return high


def _added(counts: Sequence[Ints], costs: Sequence[Floats], total: int) -> tuple[float, list[int]] | None:
    """The least sum of costs at a total and its counts, by dynamic programming; None where no counts add up to it."""
    fewest, most = (np.array([options[place] for options in counts]) for place in (0, -1))
    if not fewest.sum() <= total <= most.sum():
        return None
    least, base, choices = np.zeros(1), 0, []
    for layer, (options, cost) in enumerate(zip(counts, costs, strict=True)):
        low = max(base + fewest[layer], total - most[layer + 1 :].sum())  # what the other layers can still make up for
        high = min(base + len(least) - 1 + most[layer], total - fewest[layer + 1 :].sum())
        sums, choice = np.full(high - low + 1, np.inf), np.zeros(high - low + 1, np.int32)
        for place, (k, c) in enumerate(zip(options.tolist(), cost, strict=True)):
            first, last = max(base + k, low), min(base + k + len(least), high + 1)
            if first < last:
                there, candidate = slice(first - low, last - low), least[first - base - k : last - base - k] + c
                choice[there][candidate < sums[there]] = place
                np.minimum(sums[there], candidate, out=sums[there])
        choices.append((low, choice))
        least, base = sums, low
    if not np.isfinite(least[0]):
        return None
    chosen: list[int] = []
    for options, (low, choice) in zip(reversed(counts), reversed(choices), strict=True):
        chosen.append(int(options[choice[total - low]]))
        total -= chosen[-1]
    return float(least[0]), chosen[::-1]


def least_costs(counts: Sequence[Ints], costs: Sequence[Floats]) -> Floats:
    """The least sum of costs at every total (min-plus convolution of all layers).

    Args:
        counts: (l) allowed counts of each layer.
        costs: (l) what each of them costs.

    Returns:
        (sum of the largest counts + 1,) by total; infinite where no counts add up to it.

    Example:
        >>> least_costs([np.array([1, 2]), np.array([0, 1])], [np.array([5.0, 0.0]), np.array([1.0, 0.0])]).tolist()
        [inf, 6.0, 1.0, 0.0]
    """
    least = np.zeros(1)
    for options, cost in zip(counts, costs, strict=True):
        sums = np.full(len(least) + int(options[-1]), np.inf)
        for k, c in zip(options.tolist(), cost, strict=True):
            there = sums[k : k + len(least)]
            np.minimum(there, least + c, out=there)
        least = sums
    return least
