"""Profiles: the least damage of one layer at every number of filters that it may keep, and the masks that reach it.

Couplings inside layers leave nothing but the counts in common between layers. So a whole problem is solved by one profile per layer
and a choice of counts (``problem/allocation.py``), for all budgets at once. What is found by descent is an upper bound of the
least damage; with up to some 20 filters it is nearly always the least.

Everything runs on rows: one row is one layer at one count. ``L`` layers, ``m`` filters in each, ``R`` rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Bools, Floats, Ints

TINY = 12  # layers up to this width are enumerated
CANDIDATES = 8  # filters on each side of a swap that are looked at
SMALL = 32  # layers up to this width are searched more thoroughly: all swaps, and more neighbours as starts
RANDOM = 16  # random starts of each row of small layers
STARTS = 8  # neighbours of each row that small layers start from
ROUNDS = 8  # at most so many exchanges with the neighbouring counts
STACK = 2**22  # numbers in one stack of couplings
CHUNK = 2**18  # numbers in one stack of rows
TOLERANCE = 1e-12


@dataclass(frozen=True)
class Profile:
    """What one layer can do.

    Attributes:
        counts: (c,) allowed numbers of kept filters, rising.
        damage: (c,) damage of the layer alone.
        keep: (c, channels) masks.
    """

    counts: Ints
    damage: Floats
    keep: Bools


class Rows(NamedTuple):
    """Masks on the move: layer (R,), keep (R, m), marginal (R, m) and damage (R,); changed in place."""

    layer: Ints
    keep: Bools
    marginal: Floats
    damage: Floats

    def some(self, which: Bools) -> "Rows":
        """A copy of some rows."""
        return Rows(self.layer[which], self.keep[which], self.marginal[which], self.damage[which])


def profiles(problem: PruningProblem) -> tuple[Profile, ...]:
    """Profile every layer; of couplings that reach other layers, only the part within layers is looked at.

    Args:
        problem: the problem; its budget is used for the counts alone.

    Returns:
        One profile per layer.

    References:
        Glover et al., "Diversification-driven tabu search for unconstrained binary quadratic problems", 2010 (one-flip marginals
        that are kept up to date).
    """
    widths = np.array([group.channels for group in problem.layout.groups])
    found: dict[int, Profile] = {}
    for width in np.unique(widths):
        layers = np.flatnonzero(widths == width)
        for part in np.array_split(layers, len(layers) * int(width) ** 2 // STACK + 1):
            found |= zip(part.tolist(), _profiled(problem, part, int(width)), strict=True)
    return tuple(found[layer] for layer in range(len(widths)))


def assembled(chosen: Sequence[Profile], kept: Sequence[int]) -> Bools:
    """The (n,) mask of one count per layer."""
    return np.concatenate([profile.keep[np.searchsorted(profile.counts, k)] for profile, k in zip(chosen, kept, strict=True)])


def _profiled(problem: PruningProblem, layers: Ints, width: int) -> Iterator[Profile]:
    """Profiles of layers of one width."""
    start = np.searchsorted(problem.layer_of, layers)
    own = start[:, None] + np.arange(width)
    linear, couplings = problem.linear[own], np.stack([problem.pairs.between(filters, filters) for filters in own])
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
    for place, layer in enumerate(layers):
        counts = problem.budget.counts[layer]
        yield Profile(counts, damage[place, counts], keep[place, counts])


def _dropped(linear: Floats, couplings: Floats) -> Rows:
    """Greedy from all filters: drop the cheapest one, again and again."""
    layers, width = linear.shape
    every, drop = np.arange(layers), np.zeros((layers, width))
    rows, marginal = _rows(layers, width), linear.copy()
    for count in range(width, -1, -1):
        rows.keep[:, count], rows.marginal[:, count] = drop == 0, marginal
        if count:
            i = (marginal + drop).argmin(axis=1)
            rows.damage[:, count - 1] = rows.damage[:, count] + marginal[every, i]
            drop[every, i] = np.inf
            marginal += couplings[every, i]
    return _flat(rows)


def _returned(linear: Floats, couplings: Floats) -> Rows:
    """Greedy from no filters: bring back the one that saves most, again and again."""
    layers, width = linear.shape
    every, keep = np.arange(layers), np.zeros((layers, width))
    rows, marginal = _rows(layers, width), linear + couplings.sum(axis=2)
    rows.damage[:, 0] = 0.5 * (linear + marginal).sum(axis=1)
    for count in range(width + 1):
        rows.keep[:, count], rows.marginal[:, count] = keep != 0, marginal
        if count < width:
            j = (marginal + keep).argmax(axis=1)
            rows.damage[:, count + 1] = rows.damage[:, count] - marginal[every, j]
            keep[every, j] = -np.inf
            marginal -= couplings[every, j]
    return _flat(rows)


def _drawn(rng: np.random.Generator, linear: Floats, couplings: Floats) -> Rows:
    """Random masks."""
    layers, width = linear.shape
    order = rng.permuted(np.tile(np.arange(width), (layers, 1)), axis=1)
    rows = _rows(layers, width)
    rows.keep[...] = order[:, None] < np.arange(width + 1)[:, None]
    drop = 1.0 - rows.keep
    rows.marginal[...] = linear[:, None] + drop @ couplings
    rows.damage[...] = 0.5 * (drop * (linear[:, None] + rows.marginal)).sum(axis=2)
    return _flat(rows)


def _enumerated(counts: Ints, linear: Floats, couplings: Floats) -> Profile:
    """The profile of a layer by looking at every mask."""
    width = len(linear)
    keep = (np.arange(2**width)[:, None] >> np.arange(width) & 1).astype(bool)
    drop, kept = 1.0 - keep, keep.sum(axis=1)
    damage = drop @ linear + 0.5 * (drop * (drop @ couplings)).sum(axis=1)
    order = np.lexsort((damage, kept))
    best = order[np.searchsorted(kept[order], counts)]
    return Profile(counts, damage[best], keep[best])


def _rows(layers: int, width: int) -> Rows:
    shape = (layers, width + 1, width)
    return Rows(np.repeat(np.arange(layers), width + 1), np.empty(shape, bool), np.empty(shape), np.zeros(shape[:2]))


def _flat(rows: Rows) -> Rows:
    width = rows.keep.shape[-1]
    return Rows(rows.layer, rows.keep.reshape(-1, width), rows.marginal.reshape(-1, width), rows.damage.reshape(-1))


def _better(rows: Rows, others: Rows) -> Rows:
    """Row by row the better of two."""
    won = others.damage < rows.damage
    for mine, theirs in zip(rows[1:], others[1:], strict=True):
        mine[won] = theirs[won]
    return rows


def _descended(couplings: Floats, rows: Rows) -> Rows:
    """Swap within every row, best swap first, until no swap of good candidates helps."""
    width = rows.keep.shape[1]
    for part in np.array_split(np.arange(len(rows.keep)), rows.keep.size // CHUNK + 1):
        while len(part):
            part = part[_swapped(couplings, rows, part, width if width <= SMALL else CANDIDATES)]
    return rows


def _swapped(couplings: Floats, rows: Rows, part: Ints, candidates: int) -> Bools:
    """Do the best swap of each of some rows; says where there was one.

    Candidates are the kept filters that are cheapest to drop and the dropped ones that save most, before their coupling.
    """
    layer, keep, marginal = rows.layer[part], rows.keep[part], rows.marginal[part]
    every = np.arange(len(part))[:, None]
    give, take = np.where(keep, marginal, np.inf), np.where(keep, np.inf, -marginal)
    i, j = (np.argpartition(side, min(candidates, side.shape[1]) - 1, axis=1)[:, :candidates] for side in (give, take))
    change = give[every, i][:, :, None] + take[every, j][:, None, :] - couplings[layer[:, None, None], i[:, :, None], j[:, None, :]]
    best = change.reshape(len(part), -1).argmin(axis=1)
    every = every[:, 0]
    a, b = np.divmod(best, j.shape[1])
    i, j, change = i[every, a], j[every, b], change[every, a, b]
    won = change < -TOLERANCE * (1 + np.abs(rows.damage[part]))
    rows_, layer, i, j = part[won], layer[won], i[won], j[won]
    rows.keep[rows_, i], rows.keep[rows_, j] = False, True
    rows.marginal[rows_] += couplings[layer, i] - couplings[layer, j]
    rows.damage[rows_] += change[won]
    return np.asarray(won)


def _settled(couplings: Floats, rows: Rows) -> Rows:
    """Let every count start again from its neighbours, one filter dropped or brought back, until none gains."""
    small = rows.keep.shape[1] <= SMALL
    for _ in range(ROUNDS):
        before = rows.damage.copy()
        for sign in (-1, 1):
            for rank in range(min(STARTS, rows.keep.shape[1]) if small else 1):
                places, starts = _neighbours(couplings, rows, sign, rank)
                if not small:  # what starts worse seldom ends better, and wide layers have many rows
                    promising = starts.damage < rows.damage[places]
                    places, starts = places[promising], starts.some(promising)
                _descended(couplings, starts)
                won = starts.damage < rows.damage[places]
                for mine, theirs in zip(rows[1:], starts[1:], strict=True):
                    mine[places[won]] = theirs[won]
        if not (rows.damage < before - TOLERANCE * (1 + np.abs(before))).any():
            break
    return rows


def _neighbours(couplings: Floats, rows: Rows, sign: int, rank: int) -> tuple[Ints, Rows]:
    """Rows made from those with one filter more (sign -1: drop one) or less (1: bring one back): which ones, and how they start."""
    width = rows.keep.shape[1]
    count = np.arange(len(rows.keep)) % (width + 1)
    sources = np.flatnonzero((count > rank) if sign < 0 else (count < width - rank))
    layer, keep, marginal = rows.layer[sources], rows.keep[sources], rows.marginal[sources]
    value = np.where(keep, marginal, np.inf) if sign < 0 else np.where(keep, np.inf, -marginal)
    i = np.argpartition(value, rank, axis=1)[:, rank]
    every = np.arange(len(sources))
    keep[every, i] = sign > 0
    damage = rows.damage[sources] + value[every, i]
    return sources + sign, Rows(layer, keep, marginal - sign * couplings[layer, i], damage)
