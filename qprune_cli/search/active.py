"""The active set of a search: the filters that it may change, chosen by a prediction whose quality was measured."""

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Quadratic
from qprune_cli.search.evaluations import EvaluationLog, gradient_price
from qprune_cli.search.moves import random_swaps, swapped
from qprune_cli.types import Bools, Floats, Ints

TRUSTED = 0.4  # least rank correlation with true changes at which a prediction chooses the filters
CURVATURE = 1  # random backward passes per image
FEWEST = 8  # least number of swaps that a rank correlation is computed from


class Active(NamedTuple):
    """The filters that a search may change.

    Attributes:
        filters: (m,) numbers of the filters, rising.
        notes: how they were chosen, ready for JSON.
    """

    filters: Ints
    notes: dict[str, Any]


class Prediction(NamedTuple):
    """Predicted changes of the loss.

    Attributes:
        swaps: (b,) change by each of the measured swaps.
        flips: (n,) change when each filter alone is dropped or brought back.
    """

    swaps: Floats
    flips: Floats


def active_set(problem: PruningProblem, log: EvaluationLog, groups: list[Ints], size: int, probes: int, rng: np.random.Generator) -> Active:
    """Choose the filters that a search may change, and measure how far the choice can be trusted.

    Random swaps are measured at the current mask, and compared with two predictions: by the damage of the problem, and by the loss to
    second order around that mask. The one that ranks the true changes better chooses: the kept filters that cost least to drop, and as
    many dropped filters that are most worth bringing back. Near the optimum of a surrogate its ranking may be no better than chance, and
    filters frozen by a wrong ranking cost more than any search regains. So where neither prediction has a rank correlation of
    ``TRUSTED``, filters are drawn at random, half kept and half dropped. Dead dropped filters are left out, as they bring nothing back.
    Swaps and gradient are spent from the allowance, at most a quarter of it.

    Args:
        problem: the problem.
        log: measures masks; inside an allowance.
        groups: arrays of filters that may be exchanged for one another: all n together, or layer by layer.
        size: number of filters to choose; 0 chooses all, and then nothing is measured.
        probes: number of swaps to measure; with fewer than ``FEWEST``, or where the allowance has no room for them, the choice is random.
        rng: draws swaps and filters.

    Returns:
        The filters, and a record of the choice. Where a swap turns out better than the current mask, the log has moved to it.
    """
    keep = log.last.keep
    if not 0 < size < problem.layout.n:
        return Active(np.arange(problem.layout.n), {"predictor": "all filters are free", "active": problem.layout.n})
    count = min(probes, log.room // 4 - gradient_price(CURVATURE))
    none_dead = np.zeros(problem.layout.n, bool)
    pairs = random_swaps(problem, keep, none_dead, count if count >= FEWEST else 0, rng)
    swaps = np.array([swapped(keep, [pair]) for pair in pairs.tolist()], bool).reshape(-1, problem.layout.n)
    flips: Floats = rng.uniform(size=problem.layout.n)
    predictor, correlations = "random", dict[str, float]()
    if len(swaps) >= FEWEST:
        quadratic = log.quadratic(keep, CURVATURE, int(rng.integers(2**31)))
        rise = log.last.tuned - log.values(swaps, race=False)
        predictions = {"damage": by_damage(problem, keep, swaps), "quadratic": by_quadratic(quadratic, keep, swaps)}
        correlations = {name: _correlation(prediction.swaps, rise) for name, prediction in predictions.items()}
        best = max(correlations, key=lambda name: correlations[name])
        if correlations[best] >= TRUSTED:
            predictor, flips = best, predictions[best].flips.copy()
        if rise.min() < 0:
            old, keep = keep, log.move_to(swaps[int(rise.argmin())]).keep
            flips[old != keep] *= 1 if predictor == "random" else -1  # flipping it back would cost what the swap gained
        flips[quadratic.dead & ~keep] = np.inf
    filters = cheapest(flips, keep, groups if problem.budget.exact else [np.arange(problem.layout.n)], size)
    return Active(filters, {"predictor": predictor, "correlations": correlations, "probes": len(swaps), "active": len(filters)})


def by_damage(problem: PruningProblem, keep: Bools, swaps: Bools) -> Prediction:
    """The changes that the damage of the problem predicts at an (n,) mask, for (b, n) masks after swaps."""
    marginal = problem.linear + problem.pairs.field((~keep[None]).astype(float))[0]
    return Prediction(problem.damage(swaps) - problem.damage(keep[None]), np.where(keep, marginal, -marginal))


def by_quadratic(quadratic: Quadratic, keep: Bools, swaps: Bools) -> Prediction:
    """The changes that the loss to second order around an (n,) mask predicts, for (b, n) masks after swaps."""
    change = swaps.astype(float) - keep
    rise = change @ quadratic.gradient + 0.5 * np.square(change @ quadratic.factor.T).sum(axis=1)
    curvature = 0.5 * np.square(quadratic.factor).sum(axis=0)
    return Prediction(rise, np.where(keep, -quadratic.gradient, quadratic.gradient) + curvature)


def cheapest(flips: Floats, keep: Bools, groups: list[Ints], size: int) -> Ints:
    """The filters of smallest predicted changes, as many kept as dropped ones where there are enough.

    Args:
        flips: (n,) predicted change when each filter is flipped; inf leaves a filter out.
        keep: (n,) mask.
        groups: arrays of filters that may be exchanged for one another.
        size: number of filters to choose: pairs of a kept and a dropped filter of one group first, then single ones of groups with pairs.

    Returns:
        (m,) the filters, rising.

    Example:
        >>> keep = np.array([True, True, True, False, False])
        >>> cheapest(np.array([3.0, 1.0, 2.0, 5.0, 4.0]), keep, [np.arange(5)], size=2).tolist()
        [1, 4]
    """
    pairs, rest = [], []
    for group in groups:
        order = group[np.argsort(flips[group], kind="stable")]
        order = order[np.isfinite(flips[order])]
        kept, dropped = order[keep[order]], order[~keep[order]]
        both = min(len(kept), len(dropped))
        pairs += [(flips[i] + flips[j], i, j) for i, j in zip(kept[:both], dropped[:both], strict=True)]
        rest += [*kept[both:], *dropped[both:]] if both else []
    chosen = [i for _, *pair in sorted(pairs)[: size // 2] for i in pair]
    chosen += sorted(rest, key=lambda i: flips[i])[: size - len(chosen)] if len(pairs) <= size // 2 else []
    return np.sort(np.array(chosen, np.int64))


def _correlation(predicted: Floats, true: Floats) -> float:
    """Spearman's rank correlation; 0 where one of them is constant."""
    if np.ptp(predicted) == 0 or np.ptp(true) == 0:
        return 0.0
    return float(spearmanr(predicted, true).statistic)
