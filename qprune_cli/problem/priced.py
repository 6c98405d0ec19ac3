"""Counts of filters per layer for a budget that is a cost: parameters, multiply-accumulates, latency.

A chain of layers costs ``sum_l s_l k_{l-1} k_l``, so the cost of a filter depends on the counts of the neighbouring layers. At one price
``mu`` per unit of cost the best counts of a chain are found exactly by a Viterbi pass, and ``mu`` is bisected until the budget is met. The
budget is always used up, as far as steps allow; where fewer filters would do less damage, because of negative couplings, ``mu`` is below 0.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from qprune_cli.problem.allocation import best_counts
from qprune_cli.problem.budget import Prices
from qprune_cli.problem.local_search import polished, repaired
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.profile import Profile, assembled
from qprune_cli.types import Bools, Floats, Ints

BISECTIONS = 40
REACH = 8  # steps up or down that an exchange may move a layer by
EXCHANGES = 32  # exchanges of two layers that are tried, best first
LINEARISED = 6  # times at most that the cost terms of layers that are no neighbours are linearised anew
CORRECTIONS = 4  # times at most that the model's limit is corrected by the true cost of a mask


class PricedCounts(NamedTuple):
    """Counts that meet a cost.

    Attributes:
        kept: (l,) counts of kept filters.
        damage: sum of the damage of the profiles at these counts.
        price: damage per unit of cost at which they were found; below 0 where a network of lower cost would do less damage.
        bound: damage that no counts of these profiles within the limit fall below; None where the model is no chain, or where the limit
            leaves no choice.
    """

    kept: Ints
    damage: float
    price: float
    bound: float | None


def mask_from_profiles(problem: PruningProblem, profiles: Sequence[Profile]) -> tuple[Bools, PricedCounts | None]:
    """Choose one count per layer, join the masks of the profiles, then repair and polish the result.

    Args:
        problem: the problem.
        profiles: l profiles, one per layer.

    Returns:
        The (n,) feasible mask, and the first counts that were found for a cost; None where the budget is a number of filters.
    """
    budget = problem.budget
    if budget.exact:
        kept = best_counts(budget.counts, [profile.damage for profile in profiles], int(budget.limit))
        return polished(problem, assembled(profiles, kept))[0], None
    first, limit, masks = None, budget.limit, []
    for _ in range(CORRECTIONS):
        counts = priced_counts(profiles, problem.prices, limit)
        first = first or counts
        masks.append(assembled(profiles, counts.kept.tolist()))
        spent, modelled = budget.spent(masks[-1]), problem.prices.cost(counts.kept)
        if spent <= budget.limit and np.isclose(spent, modelled, rtol=1e-6):
            break
        limit = budget.limit + modelled - spent  # the model is wrong by about as much at other masks nearby
    finished = [polished(problem, repaired(problem, mask))[0] for mask in np.unique(masks, axis=0)]
    return finished[int(problem.damage(np.stack(finished)).argmin())], first


def priced_counts(profiles: Sequence[Profile], prices: Prices, limit: float) -> PricedCounts:
    """Counts of nearly the least damage whose modelled cost is within a limit, and to which no further step fits.

    Args:
        profiles: l profiles, one per layer.
        prices: the model of the cost.
        limit: highest modelled cost; where even the fewest filters cost more, the fewest are returned.

    References:
        Everett, "Generalized Lagrange multiplier method for solving problems of optimum allocation of resources", 1963.
        Viterbi, "Error bounds for convolutional codes and an asymptotically optimum decoding algorithm", 1967.
    """
    parts = _parts(prices.cross)
    fewest, most = (np.array([profile.counts[end] for profile in profiles]) for end in (0, -1))
    if prices.cost(fewest) >= limit:
        return PricedCounts(fewest, _damage(profiles, fewest), np.inf, None)
    if prices.cost(most) <= limit:
        return PricedCounts(most, _damage(profiles, most), -np.inf, None)
    scale = sum(float(np.ptp(profile.damage)) for profile in profiles) / (prices.cost(most) - prices.cost(fewest)) + 1e-300
    best: Ints | None = None
    bound, kept, low, high, price = -np.inf, fewest, -np.inf, np.inf, 0.0
    for _ in range(BISECTIONS):
        kept = _at_price(profiles, prices, parts, price, kept)
        cost = prices.cost(kept)
        if price >= 0:
            bound = max(bound, _damage(profiles, kept) + price * (cost - limit))
        if cost <= limit:
            high = price
        else:
            low = price
        near = _filled(profiles, prices, limit, _lowered(profiles, prices, limit, kept))
        if best is None or _damage(profiles, near) < _damage(profiles, best):
            best = near
        if np.isfinite(high - low) and high - low <= 1e-9 * max(abs(high), abs(low)):
            break
        price = _next_price(price, low, high, scale)
    assert best is not None, "at least one price is looked at"
    best = _exchanged(profiles, prices, limit, best)
    return PricedCounts(best, _damage(profiles, best), high if np.isfinite(high) else low, None if parts[1].any() else float(bound))


def _next_price(price: float, low: float, high: float, scale: float) -> float:
    """The price to look at next: the middle of a bracket, or further out from the last price while one end is infinite."""
    if np.isfinite(high - low):
        return (low + high) / 2
    return 4 * price if price else scale if low == 0 else -scale


def dual(profiles: Sequence[Profile], prices: Prices, price: float, level: float) -> float:
    """The Lagrangian dual function: the least ``damage + price * (cost - level)`` over all counts; exact for chains of layers.

    With a price of at least 0 it bounds the damage of all counts that cost at most ``level``; with a price below 0, that of all counts
    that cost at least ``level``.
    """
    kept = _at_price(profiles, prices, _parts(prices.cross), price, np.array([profile.counts[0] for profile in profiles]))
    return _damage(profiles, kept) + price * (prices.cost(kept) - level)


def _parts(cross: Floats) -> tuple[Floats, Floats]:
    """Split (l, l) cost terms: (l - 1,) those of consecutive layers, and (l, l) those of layers that are no neighbours."""
    scale = 1e-9 * max(float(np.abs(cross).max(initial=0)), 1e-300)
    rest = np.where(np.abs(cross) > scale, cross, 0)
    chain = np.diagonal(rest, 1).copy()
    for offset in (-1, 0, 1):
        rest -= np.diag(np.diagonal(rest, offset), offset)
    return chain, rest


def _at_price(profiles: Sequence[Profile], prices: Prices, parts: tuple[Floats, Floats], price: float, kept: Ints) -> Ints:
    """The (l,) best counts at one price; cost terms of layers that are no neighbours are linearised at the counts found last."""
    chain, rest = parts
    for _ in range(LINEARISED if rest.any() else 1):
        slope, before = prices.linear + rest @ kept, kept
        kept = _viterbi(profiles, price * slope, price * np.diagonal(prices.cross), price * chain)
        if (kept == before).all():
            break
    return kept


def _viterbi(profiles: Sequence[Profile], slope: Floats, curvature: Floats, chain: Floats) -> Ints:
    """The (l,) counts of least ``sum damage_l(k_l) + slope_l k_l + curvature_l k_l**2 / 2 + chain_l k_l k_{l+1}``, by a Viterbi pass."""
    least, back = np.zeros(0), []
    for layer, (profile, a, b) in enumerate(zip(profiles, slope, curvature, strict=True)):
        k = profile.counts
        value = profile.damage + a * k + 0.5 * b * np.square(k)
        if not layer:
            least = value
        elif chain[layer - 1] == 0:
            back.append(np.full(len(k), least.argmin()))
            least = value + least.min()
        else:
            reached = np.multiply.outer(k, chain[layer - 1] * profiles[layer - 1].counts) + least
            back.append(reached.argmin(axis=1))
            least = value + reached[np.arange(len(k)), back[-1]]
    positions = [int(least.argmin())]
    for choice in reversed(back):
        positions.append(int(choice[positions[-1]]))
    return np.array([profile.counts[position] for profile, position in zip(profiles, reversed(positions), strict=True)])


def _damage(profiles: Sequence[Profile], kept: Ints) -> float:
    """Sum of the damage of the profiles at (l,) counts."""
    return float(sum(profile.damage[np.searchsorted(profile.counts, k)] for profile, k in zip(profiles, kept, strict=True)))


def _steps(profiles: Sequence[Profile], prices: Prices, kept: Ints, sign: int) -> tuple[Ints, Floats, Floats]:
    """Three (l,) arrays for a step to the next count, up (1) or down (-1): filters gained, rise of the damage (inf: no count), of cost."""
    step, rise = np.zeros(len(kept), np.int64), np.full(len(kept), np.inf)
    for layer, profile in enumerate(profiles):
        position = int(np.searchsorted(profile.counts, kept[layer]))
        if 0 <= position + sign < len(profile.counts):
            step[layer] = profile.counts[position + sign] - kept[layer]
            rise[layer] = profile.damage[position + sign] - profile.damage[position]
    return step, rise, prices.marginal(kept) * step + 0.5 * np.diagonal(prices.cross) * np.square(step)


def _lowered(profiles: Sequence[Profile], prices: Prices, limit: float, kept: Ints) -> Ints:
    """Step down where the damage rises least for the cost it saves, until (l,) counts meet the limit."""
    kept = kept.copy()
    while prices.cost(kept) > limit:
        step, rise, cost = _steps(profiles, prices, kept, -1)
        possible = np.isfinite(rise) & (cost < 0)
        rise, cost = np.where(possible, rise, 1), np.where(possible, -cost, 1)
        value = np.where(possible, np.where(rise > 0, rise / cost, rise * cost), np.inf)
        layer = int(value.argmin())
        if not np.isfinite(value[layer]):
            break
        kept[layer] += step[layer]
    return kept


def _filled(profiles: Sequence[Profile], prices: Prices, limit: float, kept: Ints) -> Ints:
    """Step up where the damage falls most for its cost, until no step fits the limit."""
    kept = kept.copy()
    while True:
        step, rise, cost = _steps(profiles, prices, kept, 1)
        fits = np.isfinite(rise) & (prices.cost(kept) + cost <= limit)
        if not fits.any():
            return kept
        layer = int(np.where(fits, -np.where(fits, rise, 0) / np.maximum(cost, 1e-300), -np.inf).argmax())
        kept[layer] += step[layer]


def _exchanged(profiles: Sequence[Profile], prices: Prices, limit: float, kept: Ints) -> Ints:
    """Move two layers by some steps each, and fill up, while that lowers the damage of (l,) counts."""
    while (other := _exchange(profiles, prices, limit, kept)) is not None:
        kept = other
    return kept


def _exchange(profiles: Sequence[Profile], prices: Prices, limit: float, kept: Ints) -> Ints | None:
    """The counts after one move of two layers that lowers the damage once the limit is filled up; None where none is found."""
    level = _damage(profiles, kept)
    for change, a, b, step_a, step_b in sorted(_promising(profiles, prices, limit, kept))[:EXCHANGES]:
        other = kept.copy()
        other[a] += step_a
        other[b] += step_b
        if np.isfinite(change):
            other = _filled(profiles, prices, limit, other)
            if _damage(profiles, other) < level - 1e-12 * (1 + abs(level)):
                return other
    return None


def _promising(profiles: Sequence[Profile], prices: Prices, limit: float, kept: Ints) -> Iterator[tuple[float, int, int, int, int]]:
    """Yield the best moves of two layers within the limit: rise of the damage, two layers, and the filters that each gains."""
    move, rise, cost = _moves(profiles, prices, kept)
    now = prices.cost(kept)
    for a in range(len(kept)):
        both = rise[a][:, None, None] + rise[None, a + 1 :]
        spent = now + cost[a][:, None, None] + cost[None, a + 1 :]
        spent = spent + prices.cross[a, a + 1 :][None, :, None] * move[a][:, None, None] * move[None, a + 1 :]
        both = np.where(spent <= limit, both, np.inf)
        for flat in np.argpartition(both, min(EXCHANGES, both.size - 1), axis=None)[:EXCHANGES] if both.size else ():
            s, b, t = np.unravel_index(flat, both.shape)
            yield float(both[s, b, t]), a, a + 1 + int(b), int(move[a, s]), int(move[a + 1 + b, t])


def _moves(profiles: Sequence[Profile], prices: Prices, kept: Ints) -> tuple[Ints, Floats, Floats]:
    """Three (l, 2 REACH + 1) arrays for steps down and up: filters gained, rise of the damage (inf: no such count), rise of the cost."""
    reach = np.arange(-REACH, REACH + 1)
    move, rise = np.zeros((len(kept), len(reach)), np.int64), np.full((len(kept), len(reach)), np.inf)
    for layer, profile in enumerate(profiles):
        position = int(np.searchsorted(profile.counts, kept[layer]))
        valid = (position + reach >= 0) & (position + reach < len(profile.counts))
        move[layer, valid] = profile.counts[position + reach[valid]] - kept[layer]
        rise[layer, valid] = profile.damage[position + reach[valid]] - profile.damage[position]
    curvature = np.diagonal(prices.cross)[:, None]
    return move, rise, prices.marginal(kept)[:, None] * move + 0.5 * curvature * np.square(move)
