"""The combinatorial problem: which filters to keep."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qprune_cli.errors import UserError
from qprune_cli.problem.rounding import allowed_counts, nearest_total
from qprune_cli.types import Bools, Floats, Ints, Layout, Pairs, Solution


def kept_count(layout: Layout, sparsity: float, floor: int, round_to: int = 1) -> int:
    """Number of filters that stay at a sparsity: ``round(n * (1 - sparsity))``, or the nearest one that rounded widths add up to.

    Raises:
        UserError: no mask can keep so few with that floor.
    """
    asked = round(layout.n * (1 - sparsity))
    check_reachable(layout, asked, floor, round_to)
    return asked if round_to == 1 else nearest_total(layer_counts(layout, floor, round_to), asked)


def check_reachable(layout: Layout, budget: int, floor: int, round_to: int = 1) -> None:
    """Refuse a budget that no mask can meet.

    Raises:
        UserError: the floor is above the width of a layer, or what every layer keeps adds up to more than the budget.
    """
    narrowest = min(group.channels for group in layout.groups)
    if floor > narrowest:
        raise UserError(f"floor={floor}: the narrowest layer has {narrowest} filters; give at most that")
    least = max(sum(int(counts[0]) for counts in layer_counts(layout, floor, round_to)), 1)
    if not least <= budget <= layout.n:
        rounded, lower = ("", "") if round_to == 1 else (f", round_to={round_to}", " or round_to")
        raise UserError(
            f"sparsity: {budget} of {layout.n} filters stay, but floor={floor}{rounded} in {len(layout.groups)} layers keeps at least "
            f"{least}; lower sparsity to at most {1 - least / layout.n:.3f} or lower floor{lower}"
        )


def layer_counts(layout: Layout, floor: int, round_to: int) -> list[Ints]:
    """(l) numbers of filters that each layer may keep."""
    return [allowed_counts(group.channels, floor, round_to) for group in layout.groups]


@dataclass(frozen=True)
class PruningProblem:
    r"""Minimise the damage of dropping filters, keeping exactly ``budget`` of them.

    ``damage(d) = linear . d + sum_{i<j} Q_ij d_i d_j`` with ``d = 1 - keep``, subject to ``sum keep = budget`` and at
    least ``floor`` kept filters in each layer. Damage and feasibility are computed here for all solvers.

    Args:
        layout: the filters.
        linear: (n,) rise of the damage when a filter alone goes.
        pairs: further rise when both filters of a pair go.
        budget: number of filters that stay.
        floor: smallest number of filters that stay in each layer.
        round_to: each layer keeps a multiple of it, or all; the budget is one that such numbers add up to.

    Raises:
        UserError: no mask can meet budget and floors.

    Example:
        >>> from qprune_cli.types import FilterGroup
        >>> layout = Layout((FilterGroup("conv", "act", 3),))
        >>> problem = PruningProblem(layout, np.array([3.0, 1.0, 2.0]), Pairs.none(), budget=2, floor=1)
        >>> problem.damage(np.array([[True, False, True]])).tolist()
        [1.0]
    """

    layout: Layout
    linear: Floats
    pairs: Pairs
    budget: int
    floor: int = 1
    round_to: int = 1

    def __post_init__(self) -> None:
        assert self.linear.shape == (self.layout.n,), "one linear term per filter"
        check_reachable(self.layout, self.budget, self.floor, self.round_to)

    @cached_property
    def coupling(self) -> Floats:
        """(n, n) symmetric matrix of the pairs, zero on the diagonal."""
        return self.pairs.dense(self.layout.n)

    @cached_property
    def layer_of(self) -> Ints:
        """(n,) layer of each filter."""
        return self.layout.layer_of

    def damage(self, keep: Bools) -> Floats:
        """(b, n) masks -> (b,) damage."""
        drop = (~keep).astype(np.float64)
        return drop @ self.linear + (drop[:, self.pairs.i] * drop[:, self.pairs.j]) @ self.pairs.weight

    def kept_per_layer(self, keep: Bools) -> Ints:
        """(n,) mask -> (l,) kept filters."""
        return np.bincount(self.layer_of, weights=keep, minlength=len(self.layout.groups)).astype(np.int64)

    @cached_property
    def counts(self) -> list[Ints]:
        """(l) numbers of filters that each layer may keep."""
        return layer_counts(self.layout, self.floor, self.round_to)

    def feasible(self, keep: Bools) -> bool:
        """Whether an (n,) mask meets the budget exactly, and keeps an allowed number in each layer."""
        kept = self.kept_per_layer(keep).tolist()
        return bool(keep.sum() == self.budget) and all(k in options for k, options in zip(kept, self.counts, strict=True))

    def judge(self, keep: Bools, seconds: float, **notes: object) -> Solution:
        """Turn a proposed mask into a solution; the only place where damage and feasibility are stated."""
        return Solution(keep.astype(bool), float(self.damage(keep[None])[0]), self.feasible(keep), seconds, notes=notes)
