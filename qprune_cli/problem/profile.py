"""Profiles: the least damage of one layer at every count of filters that it may keep, and the masks that reach it.

Where couplings stay within layers, the budget is all that connects the layers. So a whole problem is solved by one profile per layer and a
choice of counts (``problem/allocation.py``), for all budgets at once. Wider layers are searched by descent, so their damage is an upper
bound of the least one; with up to some 20 filters it is nearly always the least.

All layers of one width are searched at once, in rows: a row is one layer at one count. ``L`` layers, ``m`` filters in each, ``R`` rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Bools, Floats, Ints

TINY = 12  # layers up to this width are enumerated
CANDIDATES = 8  # kept and dropped filters that a swap in a wide layer considers
SMALL = 32  # layers up to this width are searched more thoroughly: all swaps, random starts, and more neighbours as starts
RANDOM = 16  # random starts of each row of small layers
STARTS = 8  # neighbours of each row that small layers start from
ROUNDS = 8  # rounds at most in which counts start from the masks of their neighbours
STACK = 2**22  # numbers in one stack of couplings
CHUNK = 2**18  # numbers in one stack of rows
TOLERANCE = 1e-12


@dataclass(frozen=True)
class Profile:
    """The best masks of one layer, one for every count.

    Attributes:
        counts: (c,) allowed numbers of kept filters, rising.
        damage: (c,) damage of the layer alone at each count.
        keep: (c, channels) masks that do this damage.
    """

    counts: Ints
    damage: Floats
    keep: Bools


class Rows(NamedTuple):
    """Masks that are searched side by side, in place: layer (R,), keep (R, m), marginal (R, m) and damage (R,)."""

    layer: Ints
    keep: Bools
    marginal: Floats
    damage: Floats

    def subset(self, which: Bools) -> "Rows":
        """A copy of the rows where the (R,) flags are True."""
        return Rows(self.layer[which], self.keep[which], self.marginal[which], self.damage[which])


def layer_profiles(problem: PruningProblem) -> tuple[Profile, ...]:
    """Profile every layer; couplings between layers are left out.

    Args:
        problem: the problem; of its budget, only the allowed counts are used.

    Returns:
        l profiles, one per layer.

    References:
        Glover et al., "Diversification-driven tabu search for unconstrained binary quadratic problems", 2010 (one-flip marginals
        that are kept up to date).
    """
    widths = np.array([group.channels for group in problem.layout.groups])
    profile_of: dict[int, Profile] = {}
    for width in np.unique(widths):
        layers = np.flatnonzero(widths == width)
        for part in np.array_split(layers, len(layers) * int(width) ** 2 // STACK + 1):
            profile_of |= zip(part.tolist(), _profiled(problem, part, int(width)), strict=True)
    return tuple(profile_of[layer] for layer in range(len(widths)))


def assembled(profiles: Sequence[Profile], kept: Sequence[int]) -> Bools:
    """The (n,) mask that joins one mask per layer: that of its profile at its count of l counts."""
    return np.concatenate([profile.keep[np.searchsorted(profile.counts, k)] for profile, k in zip(profiles, kept, strict=True)])


def _profiled(problem: PruningProblem, layers: Ints, width: int) -> Iterator[Profile]:
    """Yield the profiles of some layers of one width."""
    start = np.searchsorted(problem.layer_of, layers)
    filters = start[:, None] + np.arange(width)
    linear, couplings = problem.linear[filters], np.stack([problem.pairs.between(row, row) for row in filters])
    if width <= TINY:
        yield from (_enumerated(problem.budget.counts[k], a, q) for k, a, q in zip(layers, linear, couplings, strict=True))
        return
    rows = _better(_descended(couplings, _dropped(linear, couplings)), _descended(couplings, _returned(linear, couplings)))
    if width <= SMALL:
        rng = np.random.default_rng(0)
        for _ in range(RANDOM):
            rows = _better(rows, _descended(couplings, _drawn(rng, linear, couplings)))
    rows = _settled(couplings, rows)
    keep, damage = rows.keep.reshape(len(layers), width + 1, width), rows.damage.reshape(len(layers), width + 1)
    for position, layer in enumerate(layers):
        counts = problem.budget.counts[layer]
        yield Profile(counts, damage[position, counts], keep[position, counts])


def _dropped(linear: Floats, couplings: Floats) -> Rows:
    """Masks of every count by greedy removal: from all filters, drop the one of least marginal, again and again."""
    layers, width = linear.shape
    index, drop = np.arange(layers), np.zeros((layers, width))
    rows, marginal = _rows(layers, width), linear.copy()
    for count in range(width, -1, -1):
        rows.keep[:, count], rows.marginal[:, count] = drop == 0, marginal
        if count:
            i = (marginal + drop).argmin(axis=1)
            rows.damage[:, count - 1] = rows.damage[:, count] + marginal[index, i]
            drop[index, i] = np.inf
            marginal += couplings[index, i]
    return _flat(rows)


def _returned(linear: Floats, couplings: Floats) -> Rows:
    """Masks of every count by greedy return: from no filters, bring back the one that saves most, again and again."""
    layers, width = linear.shape
    index, keep = np.arange(layers), np.zeros((layers, width))
    rows, marginal = _rows(layers, width), linear + couplings.sum(axis=2)
    rows.damage[:, 0] = 0.5 * (linear + marginal).sum(axis=1)
    for count in range(width + 1):
        rows.keep[:, count], rows.marginal[:, count] = keep != 0, marginal
        if count < width:
            j = (marginal + keep).argmax(axis=1)
            rows.damage[:, count + 1] = rows.damage[:, count] - marginal[index, j]
            keep[index, j] = -np.inf
            marginal -= couplings[index, j]
    return _flat(rows)


def _drawn(rng: np.random.Generator, linear: Floats, couplings: Floats) -> Rows:
    """Random masks of every count."""
    layers, width = linear.shape
    order = rng.permuted(np.tile(np.arange(width), (layers, 1)), axis=1)
    rows = _rows(layers, width)
    rows.keep[...] = order[:, None] < np.arange(width + 1)[:, None]
    drop = 1.0 - rows.keep
    rows.marginal[...] = linear[:, None] + drop @ couplings
    rows.damage[...] = 0.5 * (drop * (linear[:, None] + rows.marginal)).sum(axis=2)
    return _flat(rows)


def _enumerated(counts: Ints, linear: Floats, couplings: Floats) -> Profile:
    """The profile of a small layer by enumeration of all its masks."""
    width = len(linear)
    keep = (np.arange(2**width)[:, None] >> np.arange(width) & 1).astype(bool)
    drop, kept = 1.0 - keep, keep.sum(axis=1)
    damage = drop @ linear + 0.5 * (drop * (drop @ couplings)).sum(axis=1)
    order = np.lexsort((damage, kept))
    best = order[np.searchsorted(kept[order], counts)]
    return Profile(counts, damage[best], keep[best])


def _rows(layers: int, width: int) -> Rows:
    """Empty rows for every layer and count, shaped (layers, width + 1, ...) until they are flattened."""
    shape = (layers, width + 1, width)
    return Rows(np.repeat(np.arange(layers), width + 1), np.empty(shape, bool), np.empty(shape), np.zeros(shape[:2]))


def _flat(rows: Rows) -> Rows:
    """The same rows with one axis over layers and counts; layer ``k``, count ``c`` is row ``k * (width + 1) + c``."""
    width = rows.keep.shape[-1]
    return Rows(rows.layer, rows.keep.reshape(-1, width), rows.marginal.reshape(-1, width), rows.damage.reshape(-1))


def _better(rows: Rows, others: Rows) -> Rows:
    """Overwrite each row by the other one where that does less damage."""
    better = others.damage < rows.damage
    for values, new_values in zip(rows[1:], others[1:], strict=True):
        values[better] = new_values[better]
    return rows


def _descended(couplings: Floats, rows: Rows) -> Rows:
    """Swap within every row, best swap first, until no swap of good candidates helps."""
    width = rows.keep.shape[1]
    for part in np.array_split(np.arange(len(rows.keep)), rows.keep.size // CHUNK + 1):
        while len(part):
            part = part[_swapped(couplings, rows, part, width if width <= SMALL else CANDIDATES)]
    return rows


def _swapped(couplings: Floats, rows: Rows, part: Ints, candidates: int) -> Bools:
    """Do the best swap of each row of ``part``; returns (len(part),) whether one lowered the damage.

    Candidates are the kept filters that are cheapest to drop and the dropped ones that save most, with their own coupling left out.
    """
    layer, keep, marginal = rows.layer[part], rows.keep[part], rows.marginal[part]
    index = np.arange(len(part))[:, None]
    give, take = np.where(keep, marginal, np.inf), np.where(keep, np.inf, -marginal)
    i, j = (np.argpartition(side, min(candidates, side.shape[1]) - 1, axis=1)[:, :candidates] for side in (give, take))
    change = give[index, i][:, :, None] + take[index, j][:, None, :] - couplings[layer[:, None, None], i[:, :, None], j[:, None, :]]
    best = change.reshape(len(part), -1).argmin(axis=1)
    index = index[:, 0]
    a, b = np.divmod(best, j.shape[1])
    i, j, change = i[index, a], j[index, b], change[index, a, b]
    improved = change < -TOLERANCE * (1 + np.abs(rows.damage[part]))
    changed, layer, i, j = part[improved], layer[improved], i[improved], j[improved]
    rows.keep[changed, i], rows.keep[changed, j] = False, True
    rows.marginal[changed] += couplings[layer, i] - couplings[layer, j]
    rows.damage[changed] += change[improved]
    return np.asarray(improved)


def _settled(couplings: Floats, rows: Rows) -> Rows:
    """Let every count start again from the masks of its neighbours, with one filter dropped or brought back, until none gains."""
    small = rows.keep.shape[1] <= SMALL
    for _ in range(ROUNDS):
        before = rows.damage.copy()
        for sign in (-1, 1):
            for rank in range(min(STARTS, rows.keep.shape[1]) if small else 1):
                targets, starts = _neighbours(couplings, rows, sign, rank)
                if not small:  # a start that does more damage seldom ends better, and wide layers have many rows
                    promising = starts.damage < rows.damage[targets]
                    targets, starts = targets[promising], starts.subset(promising)
                _descended(couplings, starts)
                better = starts.damage < rows.damage[targets]
                for values, new_values in zip(rows[1:], starts[1:], strict=True):
                    values[targets[better]] = new_values[better]
        if not (rows.damage < before - TOLERANCE * (1 + np.abs(before))).any():
            break
    return rows


def _neighbours(couplings: Floats, rows: Rows, sign: int, rank: int) -> tuple[Ints, Rows]:
    """Starts for rows, made from the mask with one filter more (sign -1: drop one) or one less (1: bring one back).

    Args:
        couplings: (L, m, m) couplings within the layers.
        rows: the masks so far.
        sign: -1 to drop a filter, 1 to bring one back.
        rank: which filter: 0 the best one, 1 the next best...

    Returns:
        The rows that the starts are for, and the starts.
    """
    width = rows.keep.shape[1]
    count = np.arange(len(rows.keep)) % (width + 1)
    sources = np.flatnonzero((count > rank) if sign < 0 else (count < width - rank))
    layer, keep, marginal = rows.layer[sources], rows.keep[sources], rows.marginal[sources]
    value = np.where(keep, marginal, np.inf) if sign < 0 else np.where(keep, np.inf, -marginal)
    i = np.argpartition(value, rank, axis=1)[:, rank]
    index = np.arange(len(sources))
    keep[index, i] = sign > 0
    damage = rows.damage[sources] + value[index, i]
    return sources + sign, Rows(layer, keep, marginal - sign * couplings[layer, i], damage)
