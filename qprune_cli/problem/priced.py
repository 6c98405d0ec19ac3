"""Counts for a budget that is a cost: parameters, multiply-accumulates, latency.

A chain of layers costs ``sum_l s_l k_{l-1} k_l``, so what a filter costs depends on how many its neighbours keep. At one price ``mu`` per
unit of cost the best counts of a chain are found exactly by a Viterbi pass; ``mu`` is bisected until the budget is met.
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
LINEARISED = 6  # at most so many times are terms between layers that are no neighbours linearised anew
CORRECTIONS = 4  # at most so many times is the limit of the model corrected by what a mask really costs


class Priced(NamedTuple):
    """Counts that meet a cost.

    Attributes:
        kept: (l,) counts.
        damage: their sum of the profiles' damage.
        price: damage per unit of cost at which they were found.
        bound: no counts of these profiles do less damage within the limit; None where the model is no chain.
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
    chain, rest = _parts(prices.cross)
    fewest = np.array([profile.counts[0] for profile in chosen])
    span = sum(float(np.ptp(profile.damage)) for profile in chosen) + 1e-12
    if prices.cost(fewest) >= limit:
        return Priced(fewest, _damage(chosen, fewest), np.inf, None)
    best, bound, kept = fewest, -np.inf, fewest
    low, high, price = 0.0, np.inf, 0.0
    for _ in range(BISECTIONS):
        kept = _at_price(chosen, prices, chain, rest, price, kept)
        cost, damage = prices.cost(kept), _damage(chosen, kept)
        bound = max(bound, damage + price * (cost - limit))
        if cost <= limit:
            high = price
            best = _climbed(chosen, prices, limit, kept, best)
            if price == 0:
                break
        else:
            low = price
            best = _climbed(chosen, prices, limit, _lowered(chosen, prices, limit, kept), best)
        start = span / (limit - prices.cost(fewest))
        price = (low + high) / 2 if np.isfinite(high) else max(4 * low, start)
        if np.isfinite(high) and high - low <= 1e-9 * high:
            break
    return Priced(best, _damage(chosen, best), high if np.isfinite(high) else low, None if rest.any() else float(bound))


def _parts(cross: Floats) -> tuple[Floats, Floats]:
    """Couplings of consecutive layers (l - 1,), and (l, l) what is left beside them and the diagonal."""
    scale = 1e-9 * max(float(np.abs(cross).max(initial=0)), 1e-300)
    rest = np.where(np.abs(cross) > scale, cross, 0)
    chain = np.diagonal(rest, 1).copy()
    for offset in (-1, 0, 1):
        rest -= np.diag(np.diagonal(rest, offset), offset)
    return chain, rest


def _at_price(chosen: Sequence[Profile], prices: Prices, chain: Floats, rest: Floats, price: float, kept: Ints) -> Ints:
    """The best counts at one price; couplings of layers that are no neighbours are linearised at the counts found last."""
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


def _climbed(chosen: Sequence[Profile], prices: Prices, limit: float, kept: Ints, best: Ints) -> Ints:
    """From counts within the limit: step up, or up in one layer and down in another, while that lowers the damage and fits."""
    if prices.cost(kept) > limit:
        return best
    kept = kept.copy()
    while True:
        up, gain, dearer = _steps(chosen, prices, kept, 1)
        down, loss, cheaper = _steps(chosen, prices, kept, -1)
        rise = np.where(np.isfinite(gain)[:, None] & np.isfinite(loss), gain[:, None] + loss, np.inf)
        cost = dearer[:, None] + cheaper + prices.cross * up[:, None] * down
        np.fill_diagonal(rise, gain)
        np.fill_diagonal(cost, dearer)
        rise[prices.cost(kept) + cost > limit] = np.inf
        a, b = divmod(int(rise.argmin()), len(kept))
        if not rise[a, b] < -1e-12 * (1 + abs(_damage(chosen, kept))):
            break
        kept[a] += up[a]
        if a != b:
            kept[b] += down[b]
    return kept if prices.cost(best) > limit or _damage(chosen, kept) < _damage(chosen, best) else best
