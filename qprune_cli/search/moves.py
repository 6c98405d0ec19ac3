"""Exchanges: a kept filter goes, a dropped one comes back, and the budget stays met."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.walk import Walk
from qprune_cli.types import Bools, Floats, Ints

CONSIDERED = 1000  # filters on each side that pairs are drawn from
TRIED = 16  # exchanges that are looked at for one that meets a budget other than a number of filters


class Swap(NamedTuple):
    """Filter ``out`` goes, filter ``back`` comes back."""

    out: int
    back: int


def swapped(keep: Bools, swaps: Sequence[tuple[int, int]]) -> Bools:
    """The (n,) mask after some exchanges, one after the other."""
    mask = keep.copy()
    for out, back in swaps:
        mask[out], mask[back] = False, True
    return mask


def open_layers(problem: PruningProblem, keep: Bools) -> tuple[Bools, Bools]:
    """(l,) which layers may keep one filter fewer, and (l,) which may keep one more, where filters of two layers are exchanged."""
    budget, kept = problem.budget, problem.kept_per_layer(keep)
    return budget.free & (kept > budget.fewest), budget.free & (kept < budget.most)


def random_swaps(problem: PruningProblem, keep: Bools, dead: Bools, count: int, rng: np.random.Generator) -> Ints:
    """(<=count, 2) distinct pairs of a kept filter and a dropped one, both alive where any are, at random.

    Within a layer any two may be exchanged; of two layers, where the one may keep fewer and the other more.

    Args:
        problem: whose budget they keep.
        keep: (n,) mask.
        dead: (n,) filters that are 0 on all images: exchanging them says nothing.
        count: pairs wanted.
        rng: draws them.
    """
    gives, takes = open_layers(problem, keep)
    inside, outside = (rng.permutation(_alive(chosen, dead))[:CONSIDERED] for chosen in (keep, ~keep))
    i, j = problem.layer_of[inside][:, None], problem.layer_of[outside][None, :]
    pairs = np.argwhere((i == j) | (gives[i] & takes[j]))
    wanted = count if problem.budget.exact else TRIED * count
    chosen = pairs[rng.choice(len(pairs), min(wanted, len(pairs)), replace=False)]
    found = np.stack([inside[chosen[:, 0]], outside[chosen[:, 1]]], axis=1)
    if problem.budget.exact:
        return found
    fits = [place for place, pair in enumerate(found.tolist()) if problem.feasible(swapped(keep, [tuple(pair)]))]
    return found[fits[:count]]


def _alive(chosen: Bools, dead: Bools) -> Ints:
    return np.flatnonzero(chosen & ~dead if (chosen & ~dead).any() else chosen)


def best_swaps(walk: Walk, count: int, refused: set[Swap]) -> list[Swap]:
    """The exchanges of which a model promises most, no filter in two of them, best first; those that were refused left out."""
    problem = walk.problem
    inside, outside, change = _changes(walk, refused)
    found: list[Swap] = []
    for _ in range(TRIED * count):
        place = int(change.argmin()) if change.size else 0
        if not change.size or not np.isfinite(change.flat[place]) or len(found) == count:
            break
        i, j = divmod(place, len(outside))
        swap = Swap(int(inside[i]), int(outside[j]))
        change[i, j] = np.inf
        if problem.budget.exact or problem.feasible(swapped(walk.keep, [swap])):
            found.append(swap)
            change[i], change[:, j] = np.inf, np.inf
    return found


def best_chain(walk: Walk, count: int, refused: set[Swap]) -> list[Swap]:
    """Exchanges one after another, each the best that is left after those before, as long as the model promises anything."""
    found: list[Swap] = []
    before = float(walk.problem.damage(walk.keep[None])[0])
    while len(found) < count and (next_one := best_swaps(walk, 1, refused)):
        walk.flip(next_one[0].out)
        walk.flip(next_one[0].back)
        after = float(walk.problem.damage(walk.keep[None])[0])
        if found and after >= before:
            break
        found.append(next_one[0])
        before = after
    return found


def _changes(walk: Walk, refused: set[Swap]) -> tuple[Ints, Ints, Floats]:
    """The most promising filters on either side, and what each exchange would change; inf where it is not allowed."""
    gives, takes = open_layers(walk.problem, walk.keep)
    inside, outside = np.flatnonzero(walk.keep), np.flatnonzero(~walk.keep)
    inside = inside[np.argsort(walk.marginal[inside], kind="stable")[:CONSIDERED]]
    outside = outside[np.argsort(-walk.marginal[outside], kind="stable")[:CONSIDERED]]
    change = walk.changes(inside, outside)
    i, j = walk.problem.layer_of[inside][:, None], walk.problem.layer_of[outside][None, :]
    change[(i != j) & ~(gives[i] & takes[j])] = np.inf
    rows, columns = ({int(f): place for place, f in enumerate(side)} for side in (inside, outside))
    for swap in refused:
        if swap.out in rows and swap.back in columns:
            change[rows[swap.out], columns[swap.back]] = np.inf
    return inside, outside, change
