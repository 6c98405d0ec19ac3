"""The combinatorial problem: which filters to keep, so that the predicted damage is least and the budget is met."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qprune_cli.errors import UserError
from qprune_cli.problem.budget import Budget, Prices
from qprune_cli.scores import Pairs
from qprune_cli.types import Bools, Floats, Ints, Layout, Solution


@dataclass(frozen=True)
class PruningProblem:
    r"""Minimise the damage of dropping filters within a budget.

    ``damage(d) = linear . d + sum_{i<j} Q_ij d_i d_j`` with ``d = 1 - keep``, subject to the budget and to the counts of filters that
    each layer may keep. Damage and feasibility are computed here for all solvers.

    Args:
        layout: the filters.
        linear: (n,) rise of the damage when a filter alone goes.
        pairs: further rise when both filters of a pair go.
        budget: what a mask has to meet.

    Raises:
        UserError: a score is not finite.

    Example:
        >>> from qprune_cli.types import FilterGroup
        >>> layout = Layout((FilterGroup("conv", "act", 3),))
        >>> problem = PruningProblem(layout, np.array([3.0, 1.0, 2.0]), Pairs.none(), Budget.filters(layout, 2))
        >>> problem.damage(np.array([[True, False, True]])).tolist()
        [1.0]
    """

    layout: Layout
    linear: Floats
    pairs: Pairs
    budget: Budget

    def __post_init__(self) -> None:
        assert self.linear.shape == (self.layout.n,), "one linear term per filter"
        assert not self.pairs.blocks or len(self.pairs.blocks) == len(self.layout.groups), "one block per layer"
        values = self.layout.split(self.linear).values()
        blocks = self.pairs.blocks or [np.zeros(0)] * len(self.layout.groups)
        factors = values if self.pairs.factor is None else self.layout.split(self.pairs.factor.T).values()
        for group, *parts in zip(self.layout.groups, values, blocks, factors, strict=True):
            if not all(np.isfinite(part).all() for part in parts):
                raise UserError(
                    f"layer '{group.layer}': its scores are not finite; look for damaged weights or images, or take another scorer"
                )

    @cached_property
    def layer_of(self) -> Ints:
        """(n,) index of the layer of each filter."""
        return self.layout.layer_of

    @cached_property
    def filters_of(self) -> tuple[Ints, ...]:
        """L arrays: the numbers of the filters of each layer, rising."""
        return tuple(np.split(np.arange(self.layout.n), np.cumsum([group.channels for group in self.layout.groups])[:-1]))

    @cached_property
    def prices(self) -> Prices:
        """The model of the cost in the counts of the layers; only where the budget is a cost."""
        assert self.budget.spend is not None, "filters cost one each"
        return self.budget.prices or Prices.probed(self.layout, self.budget.spend)

    def damage(self, keep: Bools) -> Floats:
        """(b, n) masks -> (b,) predicted rise of the loss."""
        drop = (~keep).astype(np.float64)
        return np.asarray(drop @ self.linear + 0.5 * (drop * self.pairs.field(drop)).sum(axis=1))

    def kept_per_layer(self, keep: Bools) -> Ints:
        """(n,) mask -> (l,) number of kept filters of each layer."""
        return np.bincount(self.layer_of, weights=keep, minlength=len(self.layout.groups)).astype(np.int64)

    def feasible(self, keep: Bools) -> bool:
        """Whether an (n,) mask meets the budget, and keeps an allowed count in each layer."""
        return self.budget.allows(self.kept_per_layer(keep)) and self.budget.met(keep)

    def gap(self, solution: Solution) -> float | None:
        """How far the damage is above its bound, as a share of the further damage of dropping all filters; None where no bound is known."""
        if solution.bound is None:
            return None
        worth = abs(float(self.damage(np.zeros((1, self.layout.n), bool))[0]) - solution.damage)
        return max(solution.damage - solution.bound, 0.0) / max(worth, np.finfo(float).tiny)

    def judge(self, keep: Bools, seconds: float, bound: float | None = None, **notes: object) -> Solution:
        """Turn a proposed mask into a solution; damage and feasibility of solutions are computed here alone.

        Args:
            keep: (n,) mask.
            seconds: time that the solver took.
            bound: proven lower bound of the damage; None where none is known.
            notes: the solver's record of its search, ready for JSON.
        """
        return Solution(keep.astype(bool), float(self.damage(keep[None])[0]), self.feasible(keep), seconds, bound, notes)
