"""A mask on the move: flips, exchanges, and what each would change.

The marginal of a filter is what dropping it adds to the damage, or what bringing it back saves:
``m_i = linear_i + sum_j Q_ij d_j``.
"""

from collections.abc import Set as AbstractSet

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Bools, Floats, Ints

TOLERANCE = 1e-12
CANDIDATES = 1024  # filters on each side that swaps across layers look at where a factor couples all


class Walk:
    """A mask on the move, with its marginals kept up to date.

    Args:
        problem: the problem.
        keep: (n,) where to start; copied.
    """

    def __init__(self, problem: PruningProblem, keep: Bools) -> None:
        self.problem = problem
        self.keep = keep.astype(bool).copy()
        self.marginal: Floats = problem.linear + problem.pairs.field((~self.keep)[None].astype(np.float64))[0]
        self.kept = problem.kept_per_layer(self.keep)
        self.scale = max(1.0, float(np.abs(problem.linear).max()))
        self._inside: dict[int, tuple[float, int, int]] = {}  # best swap within each layer, where it is known

    def flip(self, i: int) -> None:
        """Drop filter i if it is kept, bring it back otherwise."""
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
        """The kept filter whose loss hurts least, in a layer above its fewest; layers above their most come first."""
        over = self.kept > self.problem.budget.most
        layers = over if over.any() else self.kept > self.problem.budget.fewest
        return int(np.where(self.keep & layers[self.problem.layer_of], self.marginal, np.inf).argmin())

    def best_return(self) -> int:
        """The dropped filter whose return saves most, in a layer below its most; layers below their fewest come first."""
        short = self.kept < self.problem.budget.fewest
        layers = short if short.any() else self.kept < self.problem.budget.most
        return int(np.where(~self.keep & layers[self.problem.layer_of], self.marginal, -np.inf).argmax())

    def best_swap(self, across: bool = True, without: AbstractSet[tuple[int, int]] = frozenset()) -> tuple[int, int] | None:
        """The kept and the dropped filter whose exchange lowers the damage most, None when no exchange does.

        Filters of two layers are exchanged where both layers may keep the new numbers; where the budget is a cost, where the model of
        the prices says that the exchange fits.

        Args:
            across: whether filters of two layers may be exchanged.
            without: pairs of layers, (a, a) or (a, b), between which no exchange is looked for.
        """
        layers = [layer for layer in range(len(self.kept)) if (layer, layer) not in without]
        found = min((self._within(layer) for layer in layers), default=(np.inf, -1, -1))
        budget = self.problem.budget
        if across and budget.free:
            give = (self.kept > budget.fewest)[self.problem.layer_of] & self.keep
            take = (self.kept < budget.most)[self.problem.layer_of] & ~self.keep
            if budget.exact and not self.problem.pairs.separable:
                found = min(found, self._across(give, take))
            else:
                found = min(found, self._between_layers(give, take, self._affordable(without)))
        change, i, j = found
        return (i, j) if change < -TOLERANCE * self.scale else None

    def changes(self, inside: Ints, outside: Ints) -> Floats:
        """(len(inside), len(outside)) change of the damage by each exchange of a kept filter for a dropped one."""
        return np.asarray(self.marginal[inside, None] - self.marginal[None, outside] - self.problem.pairs.between(inside, outside))

    def _within(self, layer: int) -> tuple[float, int, int]:
        if layer not in self._inside:
            own = self.problem.filters_of[layer]
            self._inside[layer] = self._best(own[self.keep[own]], own[~self.keep[own]])
        return self._inside[layer]

    def _best(self, inside: Ints, outside: Ints) -> tuple[float, int, int]:
        """The best exchange of some kept filters for some dropped ones."""
        if not len(inside) or not len(outside):
            return np.inf, -1, -1
        change = self.changes(inside, outside)
        i, j = divmod(int(change.argmin()), len(outside))
        return float(change[i, j]), int(inside[i]), int(outside[j])

    def _across(self, give: Bools, take: Bools) -> tuple[float, int, int]:
        inside, outside = np.flatnonzero(give), np.flatnonzero(take)
        inside = inside[np.argsort(self.marginal[inside], kind="stable")[:CANDIDATES]]
        outside = outside[np.argsort(-self.marginal[outside], kind="stable")[:CANDIDATES]]
        return self._best(inside, outside)

    def _affordable(self, without: AbstractSet[tuple[int, int]]) -> Bools:
        """(l, l) whether one filter of the first layer may go for one of the second."""
        budget, layers = self.problem.budget, len(self.kept)
        fits = ~np.eye(layers, dtype=bool)
        if not budget.exact:
            prices = self.problem.prices
            price, own = prices.marginal(self.kept), 0.5 * np.diagonal(prices.cross)
            rise = (price + own)[None, :] - (price - own)[:, None] - prices.cross
            fits &= rise <= budget.limit - budget.spent(self.keep)
        for a, b in without:
            fits[a, b] = False
        return fits

    def _between_layers(self, give: Bools, take: Bools, fits: Bools) -> tuple[float, int, int]:
        """The cheapest kept filter of one layer for the dearest dropped one of another: the best there is without couplings."""
        layer_of, layers = self.problem.layer_of, len(self.kept)
        cheap, dear = np.full(layers, -1), np.full(layers, -1)
        for chosen, marginal, place in ((give, self.marginal, cheap), (take, -self.marginal, dear)):
            order = np.flatnonzero(chosen)[np.argsort(marginal[chosen], kind="stable")]
            first = np.unique(layer_of[order], return_index=True)
            place[first[0]] = order[first[1]]
        change = np.where(cheap < 0, np.inf, self.marginal[cheap])[:, None] - np.where(dear < 0, -np.inf, self.marginal[dear])[None]
        if not self.problem.pairs.separable:
            change -= self.problem.pairs.between(np.maximum(cheap, 0), np.maximum(dear, 0))
        change[~fits] = np.inf
        a, b = divmod(int(change.argmin()), layers)
        return float(change[a, b]), int(cheap[a]), int(dear[b])

    def walked(self, layer: int, count: int) -> float:
        """Drop or bring back filters of one layer until so many stay, by marginal damage; returns the rise of the damage."""
        own, rise = self.problem.filters_of[layer], 0.0
        while (kept := self.kept[layer]) != count:
            candidates = own[self.keep[own] == (kept > count)]
            place = candidates[self.marginal[candidates].argmin() if kept > count else self.marginal[candidates].argmax()]
            rise += float(self.marginal[place]) * (1 if kept > count else -1)
            self.flip(int(place))
        return rise
