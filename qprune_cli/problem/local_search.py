"""Exact cardinality by marginal damage: repair a mask, then swap until no swap helps.

The marginal of a filter is what dropping it adds to the damage, or what bringing it back saves:
``m_i = linear_i + sum_j Q_ij d_j``.
"""

from collections.abc import Iterator

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.rounding import best_counts
from qprune_cli.types import Bools, Floats, Ints

TOLERANCE = 1e-12


class Walk:
    """A mask on the move, with its marginals kept up to date.

    Args:
        problem: the problem.
        keep: (n,) where to start; copied.
    """

    def __init__(self, problem: PruningProblem, keep: Bools) -> None:
        self.problem = problem
        self.keep = keep.astype(bool).copy()
        self.marginal: Floats = problem.linear + problem.coupling @ ~self.keep
        self.kept = problem.kept_per_layer(self.keep)

    def flip(self, i: int) -> None:
        """Drop filter i if it is kept, bring it back otherwise."""
        sign = 1 if self.keep[i] else -1
        self.keep[i] = not self.keep[i]
        self.marginal = self.marginal + sign * self.problem.coupling[i]
        self.kept[self.problem.layer_of[i]] -= sign

    def cheapest_drop(self) -> int:
        """The kept filter whose loss hurts least, in a layer above its floor."""
        free = self.keep & (self.kept > self.problem.floor)[self.problem.layer_of]
        return int(np.where(free, self.marginal, np.inf).argmin())

    def best_return(self) -> int:
        """The dropped filter whose return saves most; layers below their floor come first."""
        short = (self.kept < self.problem.floor)[self.problem.layer_of]
        missing = ~self.keep & short if short.any() else ~self.keep
        return int(np.where(missing, self.marginal, -np.inf).argmax())

    def best_swap(self) -> tuple[int, int] | None:
        """The kept and the dropped filter whose exchange lowers the damage most, None when no exchange does."""
        inside, outside = np.flatnonzero(self.keep), np.flatnonzero(~self.keep)
        if not len(inside) or not len(outside):
            return None
        change = self.marginal[inside, None] - self.marginal[None, outside] - self.problem.coupling[np.ix_(inside, outside)]
        layer = self.problem.layer_of
        tight = (self.kept <= self.problem.floor)[layer[inside]] | (self.problem.round_to > 1)
        change[tight[:, None] & (layer[inside, None] != layer[None, outside])] = np.inf
        place = int(change.argmin())
        i, j = divmod(place, len(outside))
        scale = max(1.0, float(np.abs(self.problem.linear).max()))
        return (int(inside[i]), int(outside[j])) if change[i, j] < -TOLERANCE * scale else None

    def walked(self, layer: int, count: int) -> float:
        """Drop or bring back filters of one layer until so many stay, by marginal damage; returns the rise of the damage."""
        own, rise = np.flatnonzero(self.problem.layer_of == layer), 0.0
        while (kept := self.kept[layer]) != count:
            candidates = own[self.keep[own] == (kept > count)]
            place = candidates[self.marginal[candidates].argmin() if kept > count else self.marginal[candidates].argmax()]
            rise += float(self.marginal[place]) * (1 if kept > count else -1)
            self.flip(int(place))
        return rise


def rounded(problem: PruningProblem, keep: Bools) -> Bools:
    """Reach allowed numbers of filters in every layer from any mask: the cheapest ones that add up to the budget.

    What a number costs is found by dropping or bringing back filters by marginal damage; the numbers are chosen by dynamic
    programming, which is optimal where nothing couples filters.

    Args:
        problem: the problem.
        keep: (n,) any mask.

    Returns:
        (n,) a feasible mask.
    """
    walk = Walk(problem, keep)
    costs = []
    for layer, options in enumerate(problem.counts):
        up, down = Walk(problem, keep), Walk(problem, keep)
        more, fewer = options[options > walk.kept[layer]], options[options <= walk.kept[layer]][::-1]
        rises = dict(_rises(up, layer, more)) | dict(_rises(down, layer, fewer))
        costs.append(np.array([rises[int(k)] for k in options]))
    for layer, count in enumerate(best_counts(problem.counts, costs, problem.budget)):
        walk.walked(layer, count)
    return walk.keep


def _rises(walk: Walk, layer: int, counts: Ints) -> Iterator[tuple[int, float]]:
    """Rise of the damage at each count, walking from one to the next."""
    rise = 0.0
    for count in counts:
        rise += walk.walked(layer, int(count))
        yield int(count), rise


def repaired(problem: PruningProblem, keep: Bools) -> Bools:
    """Reach the exact budget and the allowed numbers in every layer from any mask, one filter at a time by marginal damage.

    Args:
        problem: the problem.
        keep: (n,) any mask.

    Returns:
        (n,) a feasible mask.
    """
    walk = Walk(problem, keep)
    while (walk.kept < problem.floor).any() or walk.keep.sum() < problem.budget:
        walk.flip(walk.best_return())
    while walk.keep.sum() > problem.budget:
        walk.flip(walk.cheapest_drop())
    return walk.keep if problem.round_to == 1 else rounded(problem, walk.keep)


def polished(problem: PruningProblem, keep: Bools) -> tuple[Bools, int]:
    """Exchange filters, best exchange first, until no exchange lowers the damage.

    Args:
        problem: the problem.
        keep: (n,) a feasible mask.

    Returns:
        The (n,) feasible mask and the number of exchanges.
    """
    walk, swaps = Walk(problem, keep), 0
    while (swap := walk.best_swap()) is not None:
        walk.flip(swap[0])
        walk.flip(swap[1])
        swaps += 1
    return walk.keep, swaps
