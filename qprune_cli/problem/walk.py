"""A mask that a local search changes: flips, exchanges (swaps) of a kept filter for a dropped one, and what each does to the damage.

The marginal of a filter is the damage that dropping it adds, or that bringing it back saves: ``m_i = linear_i + sum_j Q_ij d_j``.
"""

from collections.abc import Set as AbstractSet

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Bools, Floats, Ints

TOLERANCE = 1e-12
CANDIDATES = 1024  # kept and dropped filters that swaps across layers consider, where a factor couples all filters


class Walk:
    """A mask and its marginals, which are kept up to date while filters flip; all changes are in place.

    Args:
        problem: the problem.
        keep: (n,) mask to start from; it is copied.

    Attributes:
        keep: (n,) the mask now.
        marginal: (n,) marginals at this mask.
        kept: (l,) kept filters of each layer.
        scale: size of the largest linear term, at least 1; changes far below it count as none.
    """

    def __init__(self, problem: PruningProblem, keep: Bools) -> None:
        self.problem = problem
        self.keep = keep.astype(bool).copy()
        self.marginal: Floats = problem.linear + problem.pairs.field((~self.keep)[None].astype(np.float64))[0]
        self.kept = problem.kept_per_layer(self.keep)
        self.scale = max(1.0, float(np.abs(problem.linear).max()))
        self._inside: dict[int, tuple[float, int, int]] = {}  # best swap within each layer, where it is known

    def flip(self, i: int) -> None:
        """Drop filter i if it is kept, or bring it back; marginals and counts follow."""
        sign = 1 if self.keep[i] else -1
        self.keep[i] = not self.keep[i]
        reached, couplings = self.problem.pairs.row(i, len(self.keep))
        self.marginal[reached] += sign * couplings
        layer = int(self.problem.layer_of[i])
        self.kept[layer] -= sign
        if self.problem.pairs.separable:
            self._inside.pop(layer, None)
        else:
            self._inside.clear()

    def cheapest_drop(self) -> int:
        """The kept filter of least marginal in a layer above its fewest; layers above their most come first."""
        over = self.kept > self.problem.budget.most
        layers = over if over.any() else self.kept > self.problem.budget.fewest
        return int(np.where(self.keep & layers[self.problem.layer_of], self.marginal, np.inf).argmin())

    def best_return(self) -> int:
        """The dropped filter of largest marginal in a layer below its most; layers below their fewest come first."""
        short = self.kept < self.problem.budget.fewest
        layers = short if short.any() else self.kept < self.problem.budget.most
        return int(np.where(~self.keep & layers[self.problem.layer_of], self.marginal, -np.inf).argmax())

    def best_swap(self, across: bool = True, without: AbstractSet[tuple[int, int]] = frozenset()) -> tuple[int, int] | None:
        """The kept and the dropped filter whose exchange lowers the damage most; None where no exchange lowers it.

        Filters of two layers are exchanged only where both layers may keep the new counts. Where the budget is a cost, the exchange must
        also fit it by the model of the prices.

        Args:
            across: whether filters of two layers may be exchanged.
            without: pairs of layers (of the kept filter, of the dropped one) to leave out; (a, a) leaves out swaps within layer a.
        """
        layers = [layer for layer in range(len(self.kept)) if (layer, layer) not in without]
        best = min((self._within(layer) for layer in layers), default=(np.inf, -1, -1))
        budget = self.problem.budget
        if across and budget.free:
            give = (self.kept > budget.fewest)[self.problem.layer_of] & self.keep
            take = (self.kept < budget.most)[self.problem.layer_of] & ~self.keep
            if budget.exact and not self.problem.pairs.separable:
                best = min(best, self._across(give, take))
            else:
                best = min(best, self._between_layers(give, take, self._affordable(without)))
        change, i, j = best
        return (i, j) if change < -TOLERANCE * self.scale else None

    def changes(self, inside: Ints, outside: Ints) -> Floats:
        """(len(inside), len(outside)) change of the damage when a kept filter of ``inside`` goes for a dropped one of ``outside``."""
        return np.asarray(self.marginal[inside, None] - self.marginal[None, outside] - self.problem.pairs.between(inside, outside))

    def _within(self, layer: int) -> tuple[float, int, int]:
        """The best exchange within a layer: change of the damage, kept filter, dropped filter."""
        if layer not in self._inside:
            filters = self.problem.filters_of[layer]
            self._inside[layer] = self._best(filters[self.keep[filters]], filters[~self.keep[filters]])
        return self._inside[layer]

    def _best(self, inside: Ints, outside: Ints) -> tuple[float, int, int]:
        """The best exchange of some kept filters for some dropped ones; an infinite change where there is none."""
        if not len(inside) or not len(outside):
            return np.inf, -1, -1
        change = self.changes(inside, outside)
        i, j = divmod(int(change.argmin()), len(outside))
        return float(change[i, j]), int(inside[i]), int(outside[j])

    def _across(self, give: Bools, take: Bools) -> tuple[float, int, int]:
        """The best exchange of (n,) filters that may go for (n,) filters that may come back, among the most promising of both."""
        inside, outside = np.flatnonzero(give), np.flatnonzero(take)
        inside = inside[np.argsort(self.marginal[inside], kind="stable")[:CANDIDATES]]
        outside = outside[np.argsort(-self.marginal[outside], kind="stable")[:CANDIDATES]]
        return self._best(inside, outside)

    def _affordable(self, without: AbstractSet[tuple[int, int]]) -> Bools:
        """(l, l) whether the cost allows a filter of the first layer to go for one of the second."""
        budget, layers = self.problem.budget, len(self.kept)
        fits = ~np.eye(layers, dtype=bool)
        if not budget.exact:
            prices = self.problem.prices
            price, curvature = prices.marginal(self.kept), 0.5 * np.diagonal(prices.cross)
            rise = (price + curvature)[None, :] - (price - curvature)[:, None] - prices.cross
            fits &= rise <= budget.limit - budget.spent(self.keep)
        for a, b in without:
            fits[a, b] = False
        return fits

    def _between_layers(self, give: Bools, take: Bools, fits: Bools) -> tuple[float, int, int]:
        """The best exchange of the cheapest kept filter of one layer for the dearest dropped one of another; exact without couplings."""
        layer_of, layers = self.problem.layer_of, len(self.kept)
        cheap, dear = np.full(layers, -1), np.full(layers, -1)
        for chosen, marginal, extreme in ((give, self.marginal, cheap), (take, -self.marginal, dear)):
            order = np.flatnonzero(chosen)[np.argsort(marginal[chosen], kind="stable")]
            first = np.unique(layer_of[order], return_index=True)
            extreme[first[0]] = order[first[1]]
        change = np.where(cheap < 0, np.inf, self.marginal[cheap])[:, None] - np.where(dear < 0, -np.inf, self.marginal[dear])[None]
        if not self.problem.pairs.separable:
            change -= self.problem.pairs.between(np.maximum(cheap, 0), np.maximum(dear, 0))
        change[~fits] = np.inf
        a, b = divmod(int(change.argmin()), layers)
        return float(change[a, b]), int(cheap[a]), int(dear[b])

    def resize(self, layer: int, count: int) -> float:
        """Drop or bring back filters of a layer, one by one by their marginals, until ``count`` stay; returns the rise of the damage."""
        filters, rise = self.problem.filters_of[layer], 0.0
        while (kept := self.kept[layer]) != count:
            candidates = filters[self.keep[filters] == (kept > count)]
            chosen = candidates[self.marginal[candidates].argmin() if kept > count else self.marginal[candidates].argmax()]
            rise += float(self.marginal[chosen]) * (1 if kept > count else -1)
            self.flip(int(chosen))
        return rise
