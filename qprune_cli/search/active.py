"""Which filters a search may change: those whose flip is predicted to cost least, by a prediction that was measured."""

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Quadratic
from qprune_cli.search.evaluations import EvaluationLog, gradient_price
from qprune_cli.search.moves import random_swaps, swapped
from qprune_cli.types import Bools, Floats, Ints

TRUSTED = 0.4  # rank correlation with true changes, from which a prediction chooses the filters
CURVATURE = 1  # random backward passes per image
FEWEST = 8  # swaps below which a rank correlation says nothing


class Active(NamedTuple):
    """Filters that are free, and how they were chosen.

    Attributes:
        filters: (m,) rising.
        notes: ready for JSON.
    """

    filters: Ints
    notes: dict[str, Any]


class Prediction(NamedTuple):
    """What changes of a mask do to the loss: for the measured swaps (b,), and for each filter that is flipped alone (n,)."""

    swaps: Floats
    flips: Floats


def active_set(problem: PruningProblem, log: EvaluationLog, groups: list[Ints], size: int, probes: int, rng: np.random.Generator) -> Active:
    """Choose the filters that a search may change, and measure how far the choice can be trusted.

    Random swaps are measured at the mask that the search stands at, and compared with what the problem's damage predicts and what the
    loss to second order around that mask predicts. The one that ranks the true changes better chooses: of the kept filters those that
    cost least to drop, of the dropped ones as many that are most worth having back. A surrogate may rank swaps near its own optimum
    no better than chance, and filters frozen by it cost more than any search regains; so where neither prediction has a rank
    correlation of ``TRUSTED``, filters are drawn at random, half kept and half dropped, which favours no wrong order. Dropped filters
    that are dead are left out: they bring nothing back. Swaps and slope are spent from the allowance, at most a quarter of it.

    Args:
        problem: the problem.
        log: with an allowance.
        groups: filters that may trade places: all together, or by layer.
        size: filters to choose; 0 means all, and then nothing is measured.
        probes: swaps to measure; with fewer than ``FEWEST``, or where the allowance has no room for so many, the choice is random.
        rng: draws swaps and filters.
    """
    keep = log.last.keep
    if not 0 < size < problem.layout.n:
        return Active(np.arange(problem.layout.n), {"predictor": "all filters are free", "active": problem.layout.n})
    count = min(probes, log.room // 4 - gradient_price(CURVATURE))
    nobody = np.zeros(problem.layout.n, bool)
    pairs = random_swaps(problem, keep, nobody, count if count >= FEWEST else 0, rng)
    swaps = np.array([swapped(keep, [pair]) for pair in pairs.tolist()], bool).reshape(-1, problem.layout.n)
    flips: Floats = rng.uniform(size=problem.layout.n)
    predictor, correlations = "random", dict[str, float]()
    if len(swaps) >= FEWEST:
        quadratic = log.quadratic(keep, CURVATURE, int(rng.integers(2**31)))
        rise = log.last.tuned - log.values(swaps, race=False)
        found = {"damage": by_damage(problem, keep, swaps), "quadratic": by_quadratic(quadratic, keep, swaps)}
        correlations = {name: _correlation(prediction.swaps, rise) for name, prediction in found.items()}
        best = max(correlations, key=lambda name: correlations[name])
        if correlations[best] >= TRUSTED:
            predictor, flips = best, found[best].flips.copy()
        if rise.min() < 0:
            old, keep = keep, log.moved(swaps[int(rise.argmin())]).keep
            flips[old != keep] *= 1 if predictor == "random" else -1  # to flip it back costs what it gained
        flips[quadratic.dead & ~keep] = np.inf
    filters = cheapest(flips, keep, groups if problem.budget.exact else [np.arange(problem.layout.n)], size)
    return Active(filters, {"predictor": predictor, "correlations": correlations, "probes": len(swaps), "active": len(filters)})


def by_damage(problem: PruningProblem, keep: Bools, swaps: Bools) -> Prediction:
    """What the problem's damage predicts."""
    marginal = problem.linear + problem.pairs.field((~keep[None]).astype(float))[0]
    return Prediction(problem.damage(swaps) - problem.damage(keep[None]), np.where(keep, marginal, -marginal))


def by_quadratic(quadratic: Quadratic, keep: Bools, swaps: Bools) -> Prediction:
    """What the loss to second order around the mask predicts."""
    change = swaps.astype(float) - keep
    rise = change @ quadratic.gradient + 0.5 * np.square(change @ quadratic.factor.T).sum(axis=1)
    own = 0.5 * np.square(quadratic.factor).sum(axis=0)
    return Prediction(rise, np.where(keep, -quadratic.gradient, quadratic.gradient) + own)


def cheapest(flips: Floats, keep: Bools, groups: list[Ints], size: int) -> Ints:
    """(m,) the filters of smallest flips, rising: pairs of a kept and a dropped one of the same group, then what is left over.

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
