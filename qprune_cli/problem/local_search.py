"""Local search: repair any mask to a feasible one, then swap filters until no swap helps."""

from collections.abc import Iterator

import numpy as np

from qprune_cli.problem.allocation import best_counts
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.walk import TOLERANCE, Walk
from qprune_cli.types import Bools, Ints

ALTERNATIVES = 16  # filters of a layer that are tried before all are assumed to cost the same, where the best one does not fit
UNCHECKED = 0.9  # share of the rest of a budget that is filled by the model of the prices alone, without asking for the true cost
FILLINGS = 20  # rounds at most of swapping and of filling up a budget in turn


def rounded(problem: PruningProblem, keep: Bools) -> Bools:
    """Bring every layer of a mask to an allowed count, at the least rise of the damage for counts that add up to the budget.

    The rise at a count is found by dropping or bringing back filters one by one by their marginals. The counts are chosen by dynamic
    programming, which is optimal where no filters are coupled.

    Args:
        problem: the problem; its budget is a number of filters.
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
        walk.resize(layer, count)
    return walk.keep


def _rises(walk: Walk, layer: int, counts: Ints) -> Iterator[tuple[int, float]]:
    """Yield each count with the rise of the damage there, going from one count to the next."""
    rise = 0.0
    for count in counts:
        rise += walk.resize(layer, int(count))
        yield int(count), rise


def repaired(problem: PruningProblem, keep: Bools) -> Bools:
    """Make any mask feasible: drop or bring back one filter at a time, by marginal damage, until budget and counts are met.

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
    """Meet a cost: drop the filters that cost most for their worth until the limit is met, then bring back what still fits.

    The true cost of a mask takes long to compute, so steps go by the model of the prices until that promises to meet the limit.
    """
    budget = problem.budget
    for layer, options in enumerate(budget.counts):
        if walk.kept[layer] not in options:
            walk.resize(layer, int(options[np.abs(options - walk.kept[layer]).argmin()]))
    while (excess := budget.spent(walk.keep) - budget.limit) > 0:
        steps = list(_steps(problem, walk, -1))
        if not steps:
            walk = _aligned(problem)
            break
        while excess > 0 and steps:
            _, layer, count, saved = min(steps)
            walk.resize(layer, count)
            excess -= saved if saved > 0 else excess
            steps = list(_steps(problem, walk, -1))
    _fill(problem, walk)
    return walk.keep


def _aligned(problem: PruningProblem) -> Walk:
    """The fewest filters of each layer, the first ones: where layers share channels, all of them keep the same ones, which costs least."""
    keep = [np.arange(len(filters)) < fewest for filters, fewest in zip(problem.filters_of, problem.budget.fewest, strict=True)]
    return Walk(problem, np.concatenate(keep))


def _fill(problem: PruningProblem, walk: Walk) -> bool:
    """Bring back filters, the most worth for their cost first, until none fits; returns whether any came back."""
    filled, again = False, True
    slack = UNCHECKED * (problem.budget.limit - problem.budget.spent(walk.keep))
    before = walk.keep.copy()
    while fitting := [step for step in _steps(problem, walk, 1) if 0 < step[3] < slack]:
        _, layer, count, cost = max(fitting)
        walk.resize(layer, count)
        slack -= cost
    if not problem.budget.met(walk.keep):  # the model is wrong here: undo, and go step by step
        for i in np.flatnonzero(walk.keep != before):
            walk.flip(int(i))
    filled = bool((walk.keep != before).any())
    while again:  # a filter that did not fit may fit later, once another layer keeps the same channel
        again, full = False, set[int]()
        while steps := [step for step in _steps(problem, walk, 1) if step[1] not in full]:
            _, layer, count, _ = max(steps)
            if _returned(problem, walk, layer, count):
                again = filled = True
            else:
                full.add(layer)
    return filled


def _steps(problem: PruningProblem, walk: Walk, sign: int) -> Iterator[tuple[float, int, int, float]]:
    """Yield a step of each layer to its next allowed count, down (-1) or up (1).

    A step is: its worth per price (negated change of the damage for each unit of cost), the layer, the new count, and the price.
    """
    price = problem.prices.marginal(walk.kept)
    for layer, options in enumerate(problem.budget.counts):
        position = int(np.searchsorted(options, walk.kept[layer])) + sign
        if 0 <= position < len(options):
            filters = problem.filters_of[layer]
            step = abs(int(options[position] - walk.kept[layer]))
            marginals = walk.marginal[filters[walk.keep[filters] == (sign < 0)]] * -sign
            worth = float(np.partition(marginals, step - 1)[:step].sum())
            yield -sign * worth / max(step * price[layer], 1e-300), layer, int(options[position]), step * float(price[layer])


def _returned(problem: PruningProblem, walk: Walk, layer: int, count: int) -> bool:
    """Bring filters of a layer back if that is within the budget: the best ones, or the best one that fits where the step is one filter.

    The cost of a filter depends on whether another layer keeps its channel already. Where the first ``ALTERNATIVES`` all cost the same,
    the others are assumed to do so too.
    """
    dropped = problem.filters_of[layer][~walk.keep[problem.filters_of[layer]]]
    order = dropped[np.argsort(-walk.marginal[dropped], kind="stable")]
    step, costs = count - walk.kept[layer], set[float]()
    for attempt, chosen in enumerate([order[:step]] if step > 1 else order[:, None]):
        keep = walk.keep.copy()
        keep[chosen] = True
        costs.add(problem.budget.spent(keep))
        if problem.budget.met(keep):
            for i in chosen:
                walk.flip(int(i))
            return True
        if attempt + 1 == ALTERNATIVES and len(costs) == 1:
            return False
    return False


def polished(problem: PruningProblem, keep: Bools) -> tuple[Bools, int]:
    """Exchange filters, best exchange first, until no exchange lowers the damage; where the budget is a cost, fill it up as well.

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
    for _ in range(FILLINGS):  # filling up after an exchange between layers may do more damage than the exchange has saved
        other = Walk(problem, walk.keep)
        more = _settled(problem, other, across=True)
        before, after = problem.damage(np.stack([walk.keep, other.keep]))
        if after >= before - TOLERANCE * walk.scale or not problem.feasible(other.keep):
            break
        walk, swaps = other, swaps + more
    return walk.keep, swaps


def _settled(problem: PruningProblem, walk: Walk, across: bool) -> int:
    """Swap and fill up the budget in turn; returns the number of exchanges."""
    swaps = 0
    for _ in range(FILLINGS):
        swaps += _swapped(problem, walk, across)
        if not _fill(problem, walk):
            break
    return swaps


def _swapped(problem: PruningProblem, walk: Walk, across: bool) -> int:
    """Exchange filters within layers, or also between layers, until that no longer helps; returns the number of exchanges."""
    swaps = 0
    refused: set[tuple[int, int]] = set()  # layers whose best exchange does not fit the budget
    while (swap := walk.best_swap(across, refused)) is not None:
        walk.flip(swap[0])
        walk.flip(swap[1])
        if problem.budget.met(walk.keep):
            swaps += 1
            refused.clear()
        else:  # another layer keeps one of the two channels, so the true cost is not that of the model
            walk.flip(swap[1])
            walk.flip(swap[0])
            refused.add((int(problem.layer_of[swap[0]]), int(problem.layer_of[swap[1]])))
    return swaps
