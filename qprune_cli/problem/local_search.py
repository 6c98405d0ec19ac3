"""Exact cardinality by marginal damage: repair a mask, then swap until no swap helps.

The marginal of a filter is what dropping it adds to the damage, or what bringing it back saves:
``m_i = linear_i + sum_j Q_ij d_j``.
"""

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Bools, Floats

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
        tight = (self.kept <= self.problem.floor)[layer[inside]]
        change[tight[:, None] & (layer[inside, None] != layer[None, outside])] = np.inf
        place = int(change.argmin())
        i, j = divmod(place, len(outside))
        scale = max(1.0, float(np.abs(self.problem.linear).max()))
        return (int(inside[i]), int(outside[j])) if change[i, j] < -TOLERANCE * scale else None


def repaired(problem: PruningProblem, keep: Bools) -> Bools:
    """Reach the exact budget and the floors from any mask, one filter at a time by marginal damage.

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
    return walk.keep


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
