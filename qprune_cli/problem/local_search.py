"""From any mask to a feasible one, and from there by swaps until no swap helps.

The marginal of a filter is what dropping it adds to the damage, or what bringing it back saves:
``m_i = linear_i + sum_j Q_ij d_j``.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

import numpy as np

from qprune_cli.problem.allocation import best_counts
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Bools, Floats, Ints

TOLERANCE = 1e-12
ALTERNATIVES = 16  # filters that are tried, where the best one does not fit the budget, before all are taken to cost the same
UNCHECKED = 0.9  # share of what is left of the budget that the model of the prices is trusted with
FILLINGS = 20  # times that swapping and using up what is left of a budget take turns at most
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

    def best_swap(self, without: AbstractSet[tuple[int, int]] = frozenset()) -> tuple[int, int] | None:
        """The kept and the dropped filter whose exchange lowers the damage most, None when no exchange does.

        Filters of two layers are exchanged where both layers may keep the new numbers; where the budget is a cost, where the model of
        the prices says that the exchange fits.

        Args:
            without: pairs of layers, (a, a) or (a, b), between which no exchange is looked for.
        """
        layers = [layer for layer in range(len(self.kept)) if (layer, layer) not in without]
        found = min((self._within(layer) for layer in layers), default=(np.inf, -1, -1))
        budget = self.problem.budget
        if budget.free:
            give = (self.kept > budget.fewest)[self.problem.layer_of] & self.keep
            take = (self.kept < budget.most)[self.problem.layer_of] & ~self.keep
            if budget.exact and not self.problem.pairs.separable:
                found = min(found, self._across(give, take))
            else:
                found = min(found, self._between_layers(give, take, self._affordable(without)))
        change, i, j = found
        return (i, j) if change < -TOLERANCE * self.scale else None

    def _within(self, layer: int) -> tuple[float, int, int]:
        if layer not in self._inside:
            own = self.problem.filters_of[layer]
            self._inside[layer] = self._best(own[self.keep[own]], own[~self.keep[own]])
        return self._inside[layer]

    def _best(self, inside: Ints, outside: Ints) -> tuple[float, int, int]:
        """The best exchange of some kept filters for some dropped ones."""
        if not len(inside) or not len(outside):
            return np.inf, -1, -1
        change = self.marginal[inside, None] - self.marginal[None, outside] - self.problem.pairs.between(inside, outside)
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


def rounded(problem: PruningProblem, keep: Bools) -> Bools:
    """Reach allowed numbers of filters in every layer from any mask: the cheapest ones that add up to the budget.

    What a number costs is found by dropping or bringing back filters by marginal damage; the numbers are chosen by dynamic
    programming, which is optimal where nothing couples filters.

    Args:
        problem: the problem, with a budget in filters.
        keep: (n,) any mask.

    Returns:
        (n,) a feasible mask.
    """
    walk = Walk(problem, keep)
    costs = []
    for layer, options in enumerate(problem.budget.counts):
        up, down = Walk(problem, keep), Walk(problem, keep)
        more, fewer = options[options > walk.kept[layer]], options[options <= walk.kept[layer]][::-1]
        rises = dict(_rises(up, layer, more)) | dict(_rises(down, layer, fewer))
        costs.append(np.array([rises[int(k)] for k in options]))
    for layer, count in enumerate(best_counts(problem.budget.counts, costs, int(problem.budget.limit))):
        walk.walked(layer, count)
    return walk.keep


def _rises(walk: Walk, layer: int, counts: Ints) -> Iterator[tuple[int, float]]:
    """Rise of the damage at each count, walking from one to the next."""
    rise = 0.0
    for count in counts:
        rise += walk.walked(layer, int(count))
        yield int(count), rise


def repaired(problem: PruningProblem, keep: Bools) -> Bools:
    """Meet the budget and the allowed numbers in every layer from any mask, one filter at a time by marginal damage.

    Args:
        problem: the problem.
        keep: (n,) any mask.

    Returns:
        (n,) a feasible mask.
    """
    budget, walk = problem.budget, Walk(problem, keep)
    if not budget.exact:
        return _afforded(problem, walk)
    while (walk.kept > budget.most).any():
        walk.flip(walk.cheapest_drop())
    while (walk.kept < budget.fewest).any() or walk.keep.sum() < budget.limit:
        walk.flip(walk.best_return())
    while walk.keep.sum() > budget.limit:
        walk.flip(walk.cheapest_drop())
    return walk.keep if budget.free else rounded(problem, walk.keep)


def _afforded(problem: PruningProblem, walk: Walk) -> Bools:
    """Give up what costs most for its worth until the budget is met, then bring back whatever still fits.

    What masks really cost is asked for seldom: the model of the prices says for how many steps that is not needed.
    """
    budget = problem.budget
    for layer, options in enumerate(budget.counts):
        if walk.kept[layer] not in options:
            walk.walked(layer, int(options[np.abs(options - walk.kept[layer]).argmin()]))
    while (excess := budget.spent(walk.keep) - budget.limit) > 0:
        steps = list(_steps(problem, walk, -1))
        if not steps:
            walk = _aligned(problem)
            break
        while excess > 0 and steps:
            _, layer, count, saved = min(steps)
            walk.walked(layer, count)
            excess -= saved if saved > 0 else excess
            steps = list(_steps(problem, walk, -1))
    _fill(problem, walk)
    return walk.keep


def _aligned(problem: PruningProblem) -> Walk:
    """The first filters of each layer, as few as may be: where layers share channels, they hold the same ones."""
    keep = [np.arange(len(own)) < fewest for own, fewest in zip(problem.filters_of, problem.budget.fewest, strict=True)]
    return Walk(problem, np.concatenate(keep))


def _fill(problem: PruningProblem, walk: Walk) -> bool:
    """Bring back filters, most worth for their cost first, until none fits; says whether there were any."""
    filled, again = False, True
    slack = UNCHECKED * (problem.budget.limit - problem.budget.spent(walk.keep))
    before = walk.keep.copy()
    while fitting := [step for step in _steps(problem, walk, 1) if 0 < step[3] < slack]:
        _, layer, count, cost = max(fitting)
        walk.walked(layer, count)
        slack -= cost
    if not problem.budget.met(walk.keep):  # the model is wrong here: step by step
        for i in np.flatnonzero(walk.keep != before):
            walk.flip(int(i))
    filled = bool((walk.keep != before).any())
    while again:  # what did not fit may do so later, where another layer has come to hold its channel
        again, full = False, set[int]()
        while steps := [step for step in _steps(problem, walk, 1) if step[1] not in full]:
            _, layer, count, _ = max(steps)
            if _returned(problem, walk, layer, count):
                again = filled = True
            else:
                full.add(layer)
    return filled


def _steps(problem: PruningProblem, walk: Walk, sign: int) -> Iterator[tuple[float, int, int, float]]:
    """Each layer with its next allowed number, down (-1) or up (1): what that changes of the damage for its price, and the price."""
    price = problem.prices.marginal(walk.kept)
    for layer, options in enumerate(problem.budget.counts):
        place = int(np.searchsorted(options, walk.kept[layer])) + sign
        if 0 <= place < len(options):
            own = problem.filters_of[layer]
            step = abs(int(options[place] - walk.kept[layer]))
            marginals = walk.marginal[own[walk.keep[own] == (sign < 0)]] * -sign
            worth = float(np.partition(marginals, step - 1)[:step].sum())
            yield -sign * worth / max(step * price[layer], 1e-300), layer, int(options[place]), step * float(price[layer])


def _returned(problem: PruningProblem, walk: Walk, layer: int, count: int) -> bool:
    """Bring filters of a layer back if that is within the budget: the best ones, or one of the next best where a single one is wanted.

    What a filter costs depends on whether another layer holds its channel already. Where the first ones all cost the same, the others
    are taken to do so too.
    """
    own = problem.filters_of[layer][~walk.keep[problem.filters_of[layer]]]
    order = own[np.argsort(-walk.marginal[own], kind="stable")]
    step, costs = count - walk.kept[layer], set[float]()
    for place, chosen in enumerate([order[:step]] if step > 1 else order[:, None]):
        keep = walk.keep.copy()
        keep[chosen] = True
        costs.add(problem.budget.spent(keep))
        if problem.budget.met(keep):
            for i in chosen:
                walk.flip(int(i))
            return True
        if place + 1 == ALTERNATIVES and len(costs) == 1:
            return False
    return False


def polished(problem: PruningProblem, keep: Bools) -> tuple[Bools, int]:
    """Exchange filters, best exchange first, until no exchange lowers the damage; where a cost is the budget, use up what is left of it.

    Args:
        problem: the problem.
        keep: (n,) a feasible mask.

    Returns:
        The (n,) feasible mask and the number of exchanges.
    """
    walk, swaps = Walk(problem, keep), 0
    refused: set[tuple[int, int]] = set()  # layers whose best exchange does not fit the budget
    for _ in range(FILLINGS):
        while (swap := walk.best_swap(refused)) is not None:
            walk.flip(swap[0])
            walk.flip(swap[1])
            if problem.budget.met(walk.keep):
                swaps += 1
                refused.clear()
            else:  # another layer holds one of the two channels, so it does not cost what the model says
                walk.flip(swap[1])
                walk.flip(swap[0])
                refused.add((int(problem.layer_of[swap[0]]), int(problem.layer_of[swap[1]])))
        if problem.budget.exact or not _fill(problem, walk):
            break
    return walk.keep, swaps
