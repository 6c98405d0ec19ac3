"""A certificate: damage that no feasible mask falls below, from a convex relaxation."""

from dataclasses import dataclass, replace

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.shift import tuned, uniform
from qprune_cli.scores import Pairs
from qprune_cli.types import Bools, Floats, Ints

ITERATIONS = 400
CHECKED = 20  # iterations between two looks at the bound
CLOSED = 1e-7  # gap of the relaxation itself, as a share of its value, at which to stop
UNDECIDED = 0.03  # least weight of a filter in that: with less, the shifts of decided filters grow without measure
TUNED = 256  # widest layer whose diagonal is tuned


@dataclass(frozen=True)
class Relaxation:
    r"""The problem with shares instead of bits: ``min (linear - shift / 2) . d + 1/2 d' (Q + diag(shift)) d``.

    As ``d_i ** 2 == d_i`` the shift changes no mask's damage. With a shift of ``-lambda_min`` of each layer's couplings, and of
    ``sum_r factor_ri ** 2`` for the factor, the function is convex, so its tangent at any point lies below it, and the least value of
    the tangent over all feasible points is a bound.

    Attributes:
        problem: with a number of filters as budget.
        shift: (n,) such that couplings and shift together are positive semidefinite.
    """

    problem: PruningProblem
    shift: Floats

    @staticmethod
    def of(problem: PruningProblem) -> "Relaxation":
        """The relaxation with one shift per layer."""
        shifts = np.zeros(len(problem.filters_of))
        for layer, block in enumerate(problem.pairs.blocks):
            shifts[layer] = uniform(block)
        shift = shifts[problem.layer_of]
        return Relaxation(problem, shift if problem.pairs.factor is None else shift + np.square(problem.pairs.factor).sum(axis=0))

    def tuned(self, drop: Floats) -> "Relaxation":
        """The relaxation whose shifts are least where an (n,) point is undecided; wide layers keep their own."""
        shift = self.shift.copy()
        for own, block in zip(self.problem.filters_of, self.problem.pairs.blocks, strict=False):
            if len(own) <= TUNED and block.any():
                undecided = np.maximum(drop[own] * (1 - drop[own]), UNDECIDED)
                shift[own] += tuned(block, undecided) - uniform(block)
        return Relaxation(self.problem, shift)

    def value(self, drop: Floats) -> tuple[float, Floats]:
        """The function and its slope at an (n,) point."""
        pull = self.problem.pairs.field(drop[None])[0] + self.shift * drop
        slope = self.problem.linear - 0.5 * self.shift
        return float(slope @ drop + 0.5 * drop @ pull), slope + pull

    def tangent(self, drop: Floats) -> tuple[float, Floats, Bools]:
        """Least value of the tangent at an (n,) point over all feasible masks, its slope, and the dropped filters that reach it."""
        value, slope = self.value(drop)
        gone = cheapest(self.problem, slope)
        return value + float(slope[gone].sum() - slope @ drop), slope, gone


@dataclass(frozen=True)
class Certificate:
    """A bound, and the relaxation's answer that it comes from.

    Attributes:
        relaxation: where it comes from.
        drop: (n,) the best point found there.
        bound: no feasible mask does less damage.
        slope: (n,) of the tangent.
        gone: (n,) filters that the tangent's best mask drops.
    """

    relaxation: Relaxation
    drop: Floats
    bound: float
    slope: Floats
    gone: Bools


def lower_bound(problem: PruningProblem) -> float | None:
    """Damage that no feasible mask falls below; None where no bound is known.

    One is known where the budget is a number of filters. Of the numbers that a layer may keep, the fewest and the most are used.

    References:
        Frank and Wolfe, "An algorithm for quadratic programming", 1956 (the dual value).
        Hammer and Rubin, "Some remarks on quadratic programming with 0-1 variables", 1970 (the shift of the diagonal).
    """
    found = certificate(problem)
    return None if found is None else found.bound


def certificate(problem: PruningProblem) -> Certificate | None:
    """The bound of ``lower_bound`` with what it rests on."""
    if not problem.budget.exact:
        return None
    plain = Relaxation.of(problem)
    start = minimised(plain, cheapest(problem, problem.linear).astype(np.float64))
    if not any(0 < block.size <= TUNED**2 and block.any() for block in problem.pairs.blocks):
        return start
    return max(start, minimised(plain.tuned(start.drop), start.drop), key=lambda found: found.bound)


def minimised(relaxation: Relaxation, drop: Floats) -> Certificate:
    """Minimise from an (n,) point by accelerated gradient steps (FISTA, restarted when it overshoots); the best tangent counts.

    References:
        Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse problems", 2009.
        O'Donoghue and Candes, "Adaptive restart for accelerated gradient schemes", 2015.
    """
    problem = relaxation.problem
    size = _largest(relaxation)
    ahead, momentum, last = drop, 1.0, np.inf
    best: Certificate | None = None
    for iteration in range(ITERATIONS + 1):
        if iteration % CHECKED == 0 or size == 0:
            bound, slope, gone = relaxation.tangent(drop)
            value, _ = relaxation.value(drop)
            if best is None or bound > best.bound:
                best = Certificate(relaxation, drop, bound, slope, gone)
            if size == 0 or value - best.bound <= CLOSED * max(1.0, abs(value)):
                break
        value, slope = relaxation.value(ahead)
        if value > last:
            ahead, momentum, last = drop, 1.0, np.inf
            continue
        last = value
        step = projected(problem, ahead - slope / size)
        grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead, drop, momentum = step + (momentum - 1) / grown * (step - drop), step, grown
    assert best is not None, "the first point is looked at"
    margin = 1e-12 * float(np.abs(problem.linear).sum())  # rounding errors
    return replace(best, drop=drop, bound=best.bound - margin)


def _largest(relaxation: Relaxation) -> float:
    """An upper bound of the largest curvature: the largest sum of a row of the blocks, and what the factor adds."""
    pairs = relaxation.problem.pairs
    below, above = Pairs(pairs.blocks).sums(relaxation.problem.layout.n)
    largest = float((above - below + relaxation.shift).max(initial=0))
    return largest if pairs.factor is None else largest + float(np.linalg.eigvalsh(pairs.factor @ pairs.factor.T)[-1])


def _range(problem: PruningProblem) -> tuple[Ints, Ints]:
    """(l) fewest and most filters that each layer may lose."""
    width = np.array([len(own) for own in problem.filters_of])
    return width - problem.budget.most, width - problem.budget.fewest


def cheapest(problem: PruningProblem, slope: Floats) -> Bools:
    """(n,) True where a filter goes: the least sum of slopes over the masks that meet the budget and each layer's fewest and most."""
    fewest, most = _range(problem)
    order = np.lexsort((slope, problem.layer_of))
    rank = np.empty(len(slope), np.int64)
    rank[order] = np.arange(len(slope)) - np.searchsorted(problem.layer_of, problem.layer_of)
    gone = rank < fewest[problem.layer_of]
    free = np.flatnonzero(~gone & (rank < most[problem.layer_of]))
    more = problem.layout.n - int(problem.budget.limit) - int(gone.sum())
    gone[free[np.argsort(slope[free], kind="stable")[:more]]] = True
    return gone


def projected(problem: PruningProblem, point: Floats) -> Floats:
    """The nearest (n,) point of [0, 1] whose sums meet the budget and each layer's fewest and most, by bisection of multipliers."""
    fewest, most = _range(problem)
    layer_of, starts = problem.layer_of, np.array([own[0] for own in problem.filters_of])
    total = problem.layout.n - problem.budget.limit

    def sums(shift: Floats | float) -> Floats:
        return np.asarray(np.add.reduceat(np.clip(point - shift, 0, 1), starts))

    low, high = float(point.min()) - 1, float(point.max())
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(sums(middle), fewest, most).sum() > total else (low, middle)
    reached = sums(high)
    bounded = (reached < fewest) | (reached > most)
    shift = np.full(len(starts), high)
    if bounded.any():
        target = np.clip(reached, fewest, most)
        below, above = np.full(len(starts), float(point.min()) - 1), np.full(len(starts), float(point.max()))
        for _ in range(50):
            middles = (below + above) / 2
            over = sums(middles[layer_of]) > target
            below, above = np.where(over, middles, below), np.where(over, above, middles)
        shift = np.where(bounded, above, shift)
    return np.asarray(np.clip(point - shift[layer_of], 0, 1))


def decided(problem: PruningProblem, found: Certificate, damage: float) -> tuple[Bools, Bools]:
    """Filters that every mask better than a known one must keep, and those that it must drop (reduced-cost fixing).

    A filter is decided where the certificate's bound, with that filter decided the other way, lies above the known damage: the best
    mask of the tangent then has one exchange, within the layer or between layers that may give and take.

    Args:
        problem: the problem.
        found: its certificate.
        damage: of a known feasible mask.

    Returns:
        Two (n,) arrays, True where a filter is decided.
    """
    fewest, most = _range(problem)
    lost = np.bincount(problem.layer_of, weights=found.gone, minlength=len(fewest))
    comes, goes = (_partners(problem, np.where(side, sign * found.slope, np.inf)) for side, sign in ((~found.gone, 1), (found.gone, -1)))
    into, out = np.where(lost < most, comes, np.inf), np.where(lost > fewest, goes, np.inf)
    back = np.minimum(comes, np.where(lost > fewest, into.min(), np.inf))[problem.layer_of] - found.slope  # another goes instead
    away = np.minimum(goes, np.where(lost < most, out.min(), np.inf))[problem.layer_of] + found.slope  # another comes back instead
    room = damage - found.bound + 1e-9 * (1 + abs(damage))
    return ~found.gone & (away > room), found.gone & (back > room)


def _partners(problem: PruningProblem, slope: Floats) -> Floats:
    """(l,) the least slope in each layer."""
    return np.array([slope[own].min() for own in problem.filters_of])
