"""The problem that is left when earlier rounds have dropped filters."""

from dataclasses import dataclass, replace

import numpy as np

from qprune_cli.problem.allocation import nearest_total
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Pairs
from qprune_cli.types import Bools, Layout


@dataclass(frozen=True)
class Remaining:
    """A problem whose variables are the filters that earlier rounds left; its budget is the nearest to the whole's that they can meet.

    Args:
        whole: the problem over all n filters.
        keep: (n,) True for the filters that are left.

    Example:
        >>> from qprune_cli.problem.budget import Budget
        >>> from qprune_cli.types import FilterGroup
        >>> layout = Layout((FilterGroup("conv", "act", 3),))
        >>> whole = PruningProblem(layout, np.array([3.0, 1.0, 2.0]), Pairs.none(), Budget.filters(layout, 1))
        >>> part = Remaining(whole, np.array([True, True, False]))
        >>> part.problem.layout.n, part.expanded(np.array([False, True])).tolist()
        (2, [False, True, False])
    """

    whole: PruningProblem
    keep: Bools

    @property
    def problem(self) -> PruningProblem:
        """The problem over the remaining filters; its damage is that of the whole problem, less the damage of those that are gone."""
        whole, keep = self.whole, self.keep
        kept = list(whole.layout.split(keep).values())
        layout = Layout(
            tuple(replace(group, channels=int(k.sum()), members=()) for group, k in zip(whole.layout.groups, kept, strict=True))
        )
        pairs = whole.pairs
        blocks = tuple(block[np.ix_(k, k)] for block, k in zip(pairs.blocks, kept, strict=True)) if pairs.blocks else ()
        factor = None if pairs.factor is None else pairs.factor[:, keep]
        gone = pairs.field((~keep)[None].astype(np.float64))[0]
        counts = tuple(options[options <= k.sum()] for options, k in zip(whole.budget.counts, kept, strict=True))
        spend = whole.budget.spend
        limit = nearest_total(counts, int(whole.budget.limit)) if spend is None else whole.budget.limit
        budget = replace(whole.budget, limit=limit, counts=counts, spend=None if spend is None else lambda part: spend(self.expanded(part)))
        return PruningProblem(layout, (whole.linear + gone)[keep], Pairs(blocks, factor), budget)

    @property
    def damage_before(self) -> float:
        """Damage that the filters of earlier rounds have done: what to add to a damage of ``problem``."""
        return float(self.whole.damage(self.keep[None])[0])

    def expanded(self, part: Bools) -> Bools:
        """Turn a (remaining,) mask into the (n,) mask over all filters."""
        keep = self.keep.copy()
        keep[self.keep] = part
        return keep
