"""Counts for a budget that is a cost: parameters, multiply-accumulates, latency.

A chain of layers costs ``sum_l s_l k_{l-1} k_l``, so what a filter costs depends on how many its neighbours keep. At one price ``mu`` per
unit of cost the best counts of a chain are found exactly by a Viterbi pass; ``mu`` is bisected until the budget is met. The budget is
always used up, as far as steps allow: where couplings would have it that less does less damage, ``mu`` is below 0.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from qprune_cli.problem.allocation import best_counts
from qprune_cli.problem.budget import Prices
from qprune_cli.problem.local_search import polished, repaired
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.profile import Profile, assembled
from qprune_cli.types import Bools, Floats, Ints

BISECTIONS = 40
REACH = 8  # steps that a layer may be moved by in an exchange
EXCHANGES = 32  # exchanges of two layers that are tried, best first
LINEARISED = 6  # at most so many times are terms between layers that are no neighbours linearised anew
CORRECTIONS = 4  # at most so many times is the limit of the model corrected by what a mask really costs


class Priced(NamedTuple):
    """Counts that meet a cost.

    Attributes:
        kept: (l,) counts.
        damage: their sum of the profiles' damage.
        price: damage per unit of cost at which they were found; below 0 where less than the limit would do less damage.
        bound: no counts of these profiles do less damage within the limit; None where the model is no chain, or nothing to choose.
    """

    kept: Ints
    damage: float
    price: float
    bound: float | None


def proposed(problem: PruningProblem, chosen: Sequence[Profile]) -> tuple[Bools, Priced | None]:
    """The best mask that profiles and their counts give, feasible and polished; for cost budgets also how it was found.

    Args:
        problem: the problem.
        chosen: (l) profiles.

    Returns:
        The (n,) feasible mask, and the priced counts that it comes from (None for a number of filters).
    """
    budget = problem.budget
    if budget.exact:
        kept = best_counts(budget.counts, [profile.damage for profile in chosen], int(budget.limit))
        return polished(problem, assembled(chosen, kept))[0], None
    first, limit, masks = None, budget.limit, []
    for _ in range(CORRECTIONS):
        found = priced_counts(chosen, problem.prices, limit)
        first = first or found
        masks.append(assembled(chosen, found.kept.tolist()))
        spent, modelled = budget.spent(masks[-1]), problem.prices.cost(found.kept)
        if spent <= budget.limit and np.isclose(spent, modelled, rtol=1e-6):
            break
        limit = budget.limit + modelled - spent  # the model is off by about as much as here
    finished = [polished(problem, repaired(problem, mask))[0] for mask in np.unique(masks, axis=0)]
    return finished[int(problem.damage(np.stack(finished)).argmin())], first


def priced_counts(chosen: Sequence[Profile], prices: Prices, limit: float) -> Priced:
    """Counts of least damage whose modelled cost is within a limit, and nothing more fits.

    Args:
        chosen: (l) profiles.
        prices: the model of the cost.
        limit: of the modelled cost; where even the fewest filters cost more, they are returned.

    References:
        Everett, "Generalized Lagrange multiplier method for solving problems of optimum allocation of resources", 1963.
        Viterbi, "Error bounds for convolutional codes and an asymptotically optimum decoding algorithm", 1967.
    """
    parts = _parts(prices.cross)
    fewest, most = (np.array([profile.counts[place] for profile in chosen]) for place in (0, -1))
    if prices.cost(fewest) >= limit:
        return Priced(fewest, _damage(chosen, fewest), np.inf, None)
    if prices.cost(most) <= limit:
        return Priced(most, _damage(chosen, most), -np.inf, None)
    scale = sum(float(np.ptp(profile.damage)) for profile in chosen) / (prices.cost(most) - prices.cost(fewest)) + 1e-300
    best: Ints | None = None
    bound, kept, low, high, price = -np.inf, fewest, -np.inf, np.inf, 0.0
    for _ in range(BISECTIONS):
        kept = _at_price(chosen, prices, parts, price, kept)
        cost = prices.cost(kept)
        if price >= 0:
            bound = max(bound, _damage(chosen, kept) + price * (cost - limit))
        if cost <= limit:
            high = price
        else:
            low = price
        near = _filled(chosen, prices, limit, _lowered(chosen, prices, limit, kept))
        if best is None or _damage(chosen, near) < _damage(chosen, best):
            best = near
        if not np.isfinite(high - low):
            price = 4 * price if price else scale if low == 0 else -scale
        elif high - low > 1e-9 * max(abs(high), abs(low)):
            price = (low + high) / 2
        else:
            break
    assert best is not None, "at least one price is looked at"
    best = _exchanged(chosen, prices, limit, best)
    return Priced(best, _damage(chosen, best), high if np.isfinite(high) else low, None if parts[1].any() else float(bound))


def dual(chosen: Sequence[Profile], prices: Prices, price: float, level: float) -> float:
    """The least ``damage + price * (cost - level)``: no counts do less damage that cost at most the level, at least for a price below 0.

    It holds for chains.
    """
    kept = _at_price(chosen, prices, _parts(prices.cross), price, np.array([profile.counts[0] for profile in chosen]))
    return _damage(chosen, kept) + price * (prices.cost(kept) - level)


def _parts(cross: Floats) -> tuple[Floats, Floats]:
    """Couplings of consecutive layers (l - 1,), and (l, l) what is left beside them and the diagonal."""
    scale = 1e-9 * max(float(np.abs(cross).max(initial=0)), 1e-300)
    rest = np.where(np.abs(cross) > scale, cross, 0)
    chain = np.diagonal(rest, 1).copy()
    for offset in (-1, 0, 1):
        rest -= np.diag(np.diagonal(rest, offset), offset)
    return chain, rest


def _at_price(chosen: Sequence[Profile], prices: Prices, parts: tuple[Floats, Floats], price: float, kept: Ints) -> Ints:
    """The best counts at one price; couplings of layers that are no neighbours are linearised at the counts found last."""
    chain, rest = parts
    for _ in range(LINEARISED if rest.any() else 1):
        slope, before = prices.linear + rest @ kept, kept
        kept = _viterbi(chosen, price * slope, price * np.diagonal(prices.cross), price * chain)
        if (kept == before).all():
            break
    return kept


def _viterbi(chosen: Sequence[Profile], slope: Floats, own: Floats, chain: Floats) -> Ints:
    """Counts of least ``sum damage_l(k_l) + slope_l k_l + own_l k_l**2 / 2 + chain_l k_l k_{l+1}``."""
    least, back = np.zeros(0), []
    for layer, (profile, a, b) in enumerate(zip(chosen, slope, own, strict=True)):
        k = profile.counts
        value = profile.damage + a * k + 0.5 * b * np.square(k)
        if not layer:
            least = value
        elif chain[layer - 1] == 0:
            back.append(np.full(len(k), least.argmin()))
            least = value + least.min()
        else:
            reached = np.multiply.outer(k, chain[layer - 1] * chosen[layer - 1].counts) + least
            back.append(reached.argmin(axis=1))
            least = value + reached[np.arange(len(k)), back[-1]]
    places = [int(least.argmin())]
    for choice in reversed(back):
        places.append(int(choice[places[-1]]))
    return np.array([profile.counts[place] for profile, place in zip(chosen, reversed(places), strict=True)])


def _damage(chosen: Sequence[Profile], kept: Ints) -> float:
    return float(sum(profile.damage[np.searchsorted(profile.counts, k)] for profile, k in zip(chosen, kept, strict=True)))


def _steps(chosen: Sequence[Profile], prices: Prices, kept: Ints, sign: int) -> tuple[Ints, Floats, Floats]:
    """(l,) each: filters to the next count up (1) or down (-1), what that adds to the damage (inf: no such count) and to the cost."""
    step, rise = np.zeros(len(kept), np.int64), np.full(len(kept), np.inf)
    for layer, profile in enumerate(chosen):
        place = int(np.searchsorted(profile.counts, kept[layer]))
        if 0 <= place + sign < len(profile.counts):
            step[layer] = profile.counts[place + sign] - kept[layer]
            rise[layer] = profile.damage[place + sign] - profile.damage[place]
    return step, rise, prices.marginal(kept) * step + 0.5 * np.diagonal(prices.cross) * np.square(step)


def _lowered(chosen: Sequence[Profile], prices: Prices, limit: float, kept: Ints) -> Ints:
    """Step down where that hurts least for what it saves, until the limit is met."""
    kept = kept.copy()
    while prices.cost(kept) > limit:
        step, rise, cost = _steps(chosen, prices, kept, -1)
        possible = np.isfinite(rise) & (cost < 0)
        rise, cost = np.where(possible, rise, 1), np.where(possible, -cost, 1)
        value = np.where(possible, np.where(rise > 0, rise / cost, rise * cost), np.inf)
        layer = int(value.argmin())
        if not np.isfinite(value[layer]):
            break
        kept[layer] += step[layer]
    return kept


def _filled(chosen: Sequence[Profile], prices: Prices, limit: float, kept: Ints) -> Ints:
    """Step up where that is worth most for its cost, until nothing fits."""
    kept = kept.copy()
    while True:
        step, rise, cost = _steps(chosen, prices, kept, 1)
        fits = np.isfinite(rise) & (prices.cost(kept) + cost <= limit)
        if not fits.any():
            return kept
        layer = int(np.where(fits, -np.where(fits, rise, 0) / np.maximum(cost, 1e-300), -np.inf).argmax())
        kept[layer] += step[layer]


def _exchanged(chosen: Sequence[Profile], prices: Prices, limit: float, kept: Ints) -> Ints:
    """From counts that nothing more fits into: move two layers by some steps each, and fill, while that lowers the damage."""
    while (other := _exchange(chosen, prices, limit, kept)) is not None:
        kept = other
    return kept


def _exchange(chosen: Sequence[Profile], prices: Prices, limit: float, kept: Ints) -> Ints | None:
    """One move of two layers that lowers the damage once what it leaves is filled up; None where none is found."""
    reach = np.arange(-REACH, REACH + 1)
    move, rise = np.zeros((len(kept), len(reach)), np.int64), np.full((len(kept), len(reach)), np.inf)
    for layer, profile in enumerate(chosen):
        at = int(np.searchsorted(profile.counts, kept[layer]))
        there = (at + reach >= 0) & (at + reach < len(profile.counts))
        move[layer, there] = profile.counts[at + reach[there]] - kept[layer]
        rise[layer, there] = profile.damage[at + reach[there]] - profile.damage[at]
    own = np.diagonal(prices.cross)[:, None]
    cost = prices.marginal(kept)[:, None] * move + 0.5 * own * np.square(move)
    now, level = prices.cost(kept), _damage(chosen, kept)
    found: list[tuple[float, int, int, int, int]] = []
    for a in range(len(kept)):
        both = rise[a][:, None, None] + rise[None, a + 1 :]
        spent = now + cost[a][:, None, None] + cost[None, a + 1 :]
        spent = spent + prices.cross[a, a + 1 :][None, :, None] * move[a][:, None, None] * move[None, a + 1 :]
        both = np.where(spent <= limit, both, np.inf)
        for place in np.argpartition(both, min(EXCHANGES, both.size - 1), axis=None)[:EXCHANGES] if both.size else ():
            s, b, t = np.unravel_index(place, both.shape)
            found.append((float(both[s, b, t]), a, a + 1 + int(b), int(move[a, s]), int(move[a + 1 + b, t])))
    for change, a, b, s, t in sorted(found)[:EXCHANGES]:
        other = kept.copy()
        other[a] += s
        other[b] += t
        if np.isfinite(change):
            other = _filled(chosen, prices, limit, other)
            if _damage(chosen, other) < level - 1e-12 * (1 + abs(level)):
                return other
    return None
