"""How many filters each layer keeps: the allowed counts, the totals that they reach, and the best choice.

Processors compute blocks of 8 or 16 channels at a time, so a layer of 33 channels costs as much as one of 48. With ``round_to`` every
layer keeps a multiple of it, or all.
"""

from collections.abc import Sequence
from functools import reduce
from operator import or_

import numpy as np

from qprune_cli.types import Floats, Ints


def allowed_counts(width: int, floor: int, round_to: int) -> Ints:
    """The counts of filters that a layer may keep: multiples of ``round_to`` from ``floor`` on, and its full width.

    Args:
        width: filters of the layer.
        floor: smallest count; 0 allows the layer to lose all filters.
        round_to: allowed counts are its multiples; 1 allows every count.

    Returns:
        (c,) counts, rising.

    Example:
        >>> allowed_counts(20, floor=1, round_to=8).tolist()
        [8, 16, 20]
    """
    counts = np.arange(floor, width + 1)
    return np.asarray(counts[(counts % round_to == 0) | (counts == width)])


def nearest_total(counts: Sequence[Ints], target: int) -> int:
    """The total of one allowed count per layer that is nearest to a target; of two equally near ones, the smaller.

    Args:
        counts: l arrays (c,), the allowed counts of each layer.
        target: filters to keep in all layers together.
    """
    reachable = 1  # bit k: the total k can be reached
    for options in counts:
        reachable = reduce(or_, (reachable << k for k in options.tolist()))
    for distance in range(max(target, reachable.bit_length()) + 1):
        for total in (target - distance, target + distance):
            if total >= 0 and reachable >> total & 1:
                return total
    raise AssertionError("every layer has a count")


def best_counts(counts: Sequence[Ints], costs: Sequence[Floats], total: int) -> list[int]:
    """Choose one allowed count per layer, so that they add up to a total and the sum of their costs is least.

    At the right price per filter nearly every layer's best count is the one of the optimum. No count can be part of the optimum if its
    cost at that price exceeds the least one of its layer by more than the duality gap, the difference between the priced cost of any
    choice that reaches the total and the sum of the least costs of all layers. So dynamic programming looks at few counts, and is exact.

    Args:
        counts: l arrays (c,), the allowed counts of each layer, rising.
        costs: l arrays (c,), the cost of each of these counts.
        total: filters to keep in all layers together; one that the counts can reach.

    Returns:
        The l counts.

    References:
        Everett, "Generalized Lagrange multiplier method for solving problems of optimum allocation of resources", 1963.

    Example:
        >>> best_counts([np.array([1, 2]), np.array([1, 3])], [np.array([5.0, 0.0]), np.array([1.0, 0.0])], total=4)
        [1, 3]
    """
    price = _price(counts, costs, total)
    priced = [cost - price * options for options, cost in zip(counts, costs, strict=True)]
    excess = [values - values.min() for values in priced]
    all_excess = np.sort(np.concatenate(excess))
    gap = float(all_excess[min(4 * len(counts), len(all_excess) - 1)])
    while True:
        near = [values <= gap for values in excess]
        best = _cheapest_sum(
            [options[chosen] for options, chosen in zip(counts, near, strict=True)],
            [values[chosen] for values, chosen in zip(excess, near, strict=True)],
            total,
        )
        if best is not None and (best[0] <= gap or gap >= all_excess[-1]):
            return best[1]
        assert gap < all_excess[-1], "the total is one that the counts can reach"
        gap = min(max(4 * gap, float(all_excess[-1]) * 1e-9), float(all_excess[-1])) if best is None else best[0]


def _price(counts: Sequence[Ints], costs: Sequence[Floats], total: int) -> float:
    """The price per filter at which the best counts of the layers, chosen one by one, come nearest to a total (by bisection)."""
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


def _cheapest_sum(counts: Sequence[Ints], costs: Sequence[Floats], total: int) -> tuple[float, list[int]] | None:
    """The least sum of costs at a total and its l counts, by dynamic programming; None where no counts add up to the total."""
    fewest, most = (np.array([options[position] for options in counts]) for position in (0, -1))
    if not fewest.sum() <= total <= most.sum():
        return None
    least, base, choices = np.zeros(1), 0, []
    for layer, (options, cost) in enumerate(zip(counts, costs, strict=True)):
        low = max(base + fewest[layer], total - most[layer + 1 :].sum())  # sums from which the layers behind can still reach the total
        high = min(base + len(least) - 1 + most[layer], total - fewest[layer + 1 :].sum())
        sums, choice = np.full(high - low + 1, np.inf), np.zeros(high - low + 1, np.int32)
        for position, (k, c) in enumerate(zip(options.tolist(), cost, strict=True)):
            first, last = max(base + k, low), min(base + k + len(least), high + 1)
            if first < last:
                reached, candidate = slice(first - low, last - low), least[first - base - k : last - base - k] + c
                choice[reached][candidate < sums[reached]] = position
                np.minimum(sums[reached], candidate, out=sums[reached])
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
    """The least sum of costs at every total (min-plus convolution over the layers).

    Args:
        counts: l arrays (c,), the allowed counts of each layer, rising.
        costs: l arrays (c,), the cost of each of these counts.

    Returns:
        (sum of the largest counts + 1,) least cost at each total; infinite where no counts add up to it.

    Example:
        >>> least_costs([np.array([1, 2]), np.array([0, 1])], [np.array([5.0, 0.0]), np.array([1.0, 0.0])]).tolist()
        [inf, 6.0, 1.0, 0.0]
    """
    least = np.zeros(1)
    for options, cost in zip(counts, costs, strict=True):
        sums = np.full(len(least) + int(options[-1]), np.inf)
        for k, c in zip(options.tolist(), cost, strict=True):
            reached = sums[k : k + len(least)]
            np.minimum(reached, least + c, out=reached)
        least = sums
    return least
