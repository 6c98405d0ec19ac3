"""Swaps: a kept filter goes, a dropped one comes back, and the budget stays met."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.walk import Walk
from qprune_cli.types import Bools, Floats, Ints

CONSIDERED = 1000  # kept and dropped filters that pairs are made of, at most
TRIED = 16  # swaps that are tried for each wanted one, where the budget is a cost that a swap may exceed


class Swap(NamedTuple):
    """An exchange: filter ``out`` goes, filter ``back`` comes back."""

    out: int
    back: int


def swapped(keep: Bools, swaps: Sequence[tuple[int, int]]) -> Bools:
    """The (n,) mask after some swaps, done one after another; the mask that is given stays as it is."""
    mask = keep.copy()
    for out, back in swaps:
        mask[out], mask[back] = False, True
    return mask


def open_layers(problem: PruningProblem, keep: Bools) -> tuple[Bools, Bools]:
    """Whether layers may take part in swaps between two layers: (l,) that may keep one filter fewer, and (l,) that may keep one more."""
    budget, kept = problem.budget, problem.kept_per_layer(keep)
    return budget.free & (kept > budget.fewest), budget.free & (kept < budget.most)


def random_swaps(problem: PruningProblem, keep: Bools, dead: Bools, count: int, rng: np.random.Generator) -> Ints:
    """Draw distinct swaps at random, each feasible on its own.

    Within a layer any kept filter may be exchanged for any dropped one; between two layers, where the one may keep fewer filters and
    the other more.

    Args:
        problem: the swaps meet its budget.
        keep: (n,) mask.
        dead: (n,) True for filters that are 0 on all images; only live filters are drawn where there are any, as dead ones say nothing.
        count: number of swaps wanted.
        rng: draws them.

    Returns:
        (<=count, 2) pairs of a kept and a dropped filter.
    """
    gives, takes = open_layers(problem, keep)
    inside, outside = (rng.permutation(_alive(chosen, dead))[:CONSIDERED] for chosen in (keep, ~keep))
    i, j = problem.layer_of[inside][:, None], problem.layer_of[outside][None, :]
    pairs = np.argwhere((i == j) | (gives[i] & takes[j]))
    wanted = count if problem.budget.exact else TRIED * count
    chosen = pairs[rng.choice(len(pairs), min(wanted, len(pairs)), replace=False)]
    swaps = np.stack([inside[chosen[:, 0]], outside[chosen[:, 1]]], axis=1)
    if problem.budget.exact:
        return swaps
    fits = [row for row, pair in enumerate(swaps.tolist()) if problem.feasible(swapped(keep, [tuple(pair)]))]
    return swaps[fits[:count]]


def _alive(chosen: Bools, dead: Bools) -> Ints:
    """Numbers of the chosen filters that are alive, or of all chosen ones where none is."""
    return np.flatnonzero(chosen & ~dead if (chosen & ~dead).any() else chosen)


def best_swaps(walk: Walk, count: int, refused: set[Swap]) -> list[Swap]:
    """The swaps that lower the damage of a problem most, or raise it least, no filter in two of them.

    Args:
        walk: the mask, and the problem whose damage predicts what swaps do.
        count: number of swaps wanted.
        refused: swaps to leave out.

    Returns:
        At most ``count`` swaps, each feasible on its own, best first.
    """
    problem = walk.problem
    inside, outside, change = _changes(walk, refused)
    swaps: list[Swap] = []
    for _ in range(TRIED * count):
        flat = int(change.argmin()) if change.size else 0
        if not change.size or not np.isfinite(change.flat[flat]) or len(swaps) == count:
            break
        i, j = divmod(flat, len(outside))
        swap = Swap(int(inside[i]), int(outside[j]))
        change[i, j] = np.inf
        if problem.budget.exact or problem.feasible(swapped(walk.keep, [swap])):
            swaps.append(swap)
            change[i], change[:, j] = np.inf, np.inf
    return swaps


def best_chain(walk: Walk, count: int, refused: set[Swap]) -> list[Swap]:
    """Swaps one after another, each the best one after those before; from the second on, each lowers the damage further.

    Args:
        walk: the mask, and the problem whose damage predicts what swaps do; it is left at the end of the chain.
        count: number of swaps at most.
        refused: swaps to leave out.
    """
    chain: list[Swap] = []
    before = float(walk.problem.damage(walk.keep[None])[0])
    while len(chain) < count and (best := best_swaps(walk, 1, refused)):
        walk.flip(best[0].out)
        walk.flip(best[0].back)
        after = float(walk.problem.damage(walk.keep[None])[0])
        if chain and after >= before:
            break
        chain.append(best[0])
        before = after
    return chain


def _changes(walk: Walk, refused: set[Swap]) -> tuple[Ints, Ints, Floats]:
    """The most promising kept (a,) and dropped (c,) filters, and the (a, c) change of the damage by each swap; inf: not allowed."""
    gives, takes = open_layers(walk.problem, walk.keep)
    inside, outside = np.flatnonzero(walk.keep), np.flatnonzero(~walk.keep)
    inside = inside[np.argsort(walk.marginal[inside], kind="stable")[:CONSIDERED]]
    outside = outside[np.argsort(-walk.marginal[outside], kind="stable")[:CONSIDERED]]
    change = walk.changes(inside, outside)
    i, j = walk.problem.layer_of[inside][:, None], walk.problem.layer_of[outside][None, :]
    change[(i != j) & ~(gives[i] & takes[j])] = np.inf
    rows, columns = ({int(f): position for position, f in enumerate(side)} for side in (inside, outside))
    for swap in refused:
        if swap.out in rows and swap.back in columns:
            change[rows[swap.out], columns[swap.back]] = np.inf
    return inside, outside, change
