"""The same problem among fewer filters: those that an earlier round left."""

from dataclasses import dataclass, replace

import numpy as np

from qprune_cli.problem.allocation import nearest_total
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Pairs
from qprune_cli.types import Bools, Layout


@dataclass(frozen=True)
class Remaining:
    """A problem where some filters are gone; its budget is the nearest to the whole's that the others can meet.

    Args:
        whole: the problem over all filters.
        keep: (n,) True for the filters that may still stay.

    Example:
        >>> from qprune_cli.problem.budget import Budget
        >>> from qprune_cli.types import FilterGroup
        >>> layout = Layout((FilterGroup("conv", "act", 3),))
        >>> whole = PruningProblem(layout, np.array([3.0, 1.0, 2.0]), Pairs.none(), Budget.filters(layout, 1))
        >>> part = Remaining(whole, np.array([True, True, False]))
        >>> part.problem.layout.n, part.back(np.array([False, True])).tolist()
        (2, [False, True, False])
    """

    whole: PruningProblem
    keep: Bools

    @property
    def problem(self) -> PruningProblem:
        """The problem over the remaining filters; its damage is that of the whole less what the others have cost."""
        whole, keep = self.whole, self.keep
        own = list(whole.layout.split(keep).values())
        layout = Layout(tuple(replace(group, channels=int(k.sum()), members=()) for group, k in zip(whole.layout.groups, own, strict=True)))
        pairs = whole.pairs
        blocks = tuple(block[np.ix_(k, k)] for block, k in zip(pairs.blocks, own, strict=True)) if pairs.blocks else ()
        factor = None if pairs.factor is None else pairs.factor[:, keep]
        gone = pairs.field((~keep)[None].astype(np.float64))[0]
        counts = tuple(options[options <= k.sum()] for options, k in zip(whole.budget.counts, own, strict=True))
        spend = whole.budget.spend
        limit = nearest_total(counts, int(whole.budget.limit)) if spend is None else whole.budget.limit
        budget = replace(whole.budget, limit=limit, counts=counts, spend=None if spend is None else lambda part: spend(self.back(part)))
        return PruningProblem(layout, (whole.linear + gone)[keep], Pairs(blocks, factor), budget)

    @property
    def spent(self) -> float:
        """Damage of the filters that are gone."""
        return float(self.whole.damage(self.keep[None])[0])

    def back(self, part: Bools) -> Bools:
        """A mask of the remaining filters as an (n,) mask of all."""
        keep = self.keep.copy()
        keep[self.keep] = part
        return keep
