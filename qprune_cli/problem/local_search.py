"""From any mask to a feasible one, and from there by swaps until no swap helps."""

from collections.abc import Iterator

import numpy as np

from qprune_cli.problem.allocation import best_counts
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.walk import TOLERANCE, Walk
from qprune_cli.types import Bools, Ints

ALTERNATIVES = 16  # filters that are tried, where the best one does not fit the budget, before all are taken to cost the same
UNCHECKED = 0.9  # share of what is left of the budget that the model of the prices is trusted with
FILLINGS = 20  # times that swapping and using up what is left of a budget take turns at most


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
    walk = Walk(problem, keep)
    if problem.budget.exact:
        return walk.keep, _swapped(problem, walk, across=True)
    swaps = _settled(problem, walk, across=False)
    for _ in range(FILLINGS):  # an exchange between layers frees a part of the budget, and using that up may cost more than it gained
        other = Walk(problem, walk.keep)
        more = _settled(problem, other, across=True)
        before, after = problem.damage(np.stack([walk.keep, other.keep]))
        if after >= before - TOLERANCE * walk.scale or not problem.feasible(other.keep):
            break
        walk, swaps = other, swaps + more
    return walk.keep, swaps


def _settled(problem: PruningProblem, walk: Walk, across: bool) -> int:
    """Swap and use up what is left of the budget, in turn; returns the number of exchanges."""
    swaps = 0
    for _ in range(FILLINGS):
        swaps += _swapped(problem, walk, across)
        if not _fill(problem, walk):
            break
    return swaps


def _swapped(problem: PruningProblem, walk: Walk, across: bool) -> int:
    """Exchange filters within layers, or also of two layers, until that no longer helps; returns how often."""
    swaps = 0
    refused: set[tuple[int, int]] = set()  # layers whose best exchange does not fit the budget
    while (swap := walk.best_swap(across, refused)) is not None:
        walk.flip(swap[0])
        walk.flip(swap[1])
        if problem.budget.met(walk.keep):
            swaps += 1
            refused.clear()
        else:  # another layer holds one of the two channels, so it does not cost what the model says
            walk.flip(swap[1])
            walk.flip(swap[0])
            refused.add((int(problem.layer_of[swap[0]]), int(problem.layer_of[swap[1]])))
    return swaps
