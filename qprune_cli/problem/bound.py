"""A lower bound of the damage of all feasible masks, from a convex relaxation."""

from dataclasses import dataclass, replace

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.shift import tuned_shift, uniform_shift
from qprune_cli.scores import Pairs
from qprune_cli.types import Bools, Floats, Ints

ITERATIONS = 400
CHECKED = 20  # iterations between two computations of the bound
CLOSED = 1e-7  # duality gap of the relaxation, as a share of its value, at which to stop
UNDECIDED = 0.03  # least weight of a filter when shifts are tuned: with less, the shifts of decided filters grow without limit
TUNED = 256  # width of the widest layer whose shifts are tuned


@dataclass(frozen=True)
class Relaxation:
    r"""The problem with real numbers d in [0, 1] instead of bits: ``min (linear - shift / 2) . d + 1/2 d' (Q + diag(shift)) d``.

    As ``d_i ** 2 == d_i`` the shift changes no mask's damage. With a shift of ``-lambda_min`` of each layer's couplings, and of
    ``sum_r factor_ri ** 2`` for the factor, the function is convex, so its tangent at any point lies below it, and the least value of
    the tangent over all feasible points is a bound.

    Attributes:
        problem: the problem; its budget is a number of filters.
        shift: (n,) numbers on the diagonal, such that couplings and shift together are positive semidefinite.
    """

    problem: PruningProblem
    shift: Floats

    @staticmethod
    def of(problem: PruningProblem) -> "Relaxation":
        """Make the relaxation of a problem with one shift per layer, the least that makes its couplings convex."""
        shifts = np.zeros(len(problem.filters_of))
        for layer, block in enumerate(problem.pairs.blocks):
            shifts[layer] = uniform_shift(block)
        shift = shifts[problem.layer_of]
        return Relaxation(problem, shift if problem.pairs.factor is None else shift + np.square(problem.pairs.factor).sum(axis=0))

    def tuned(self, drop: Floats) -> "Relaxation":
        """Make the relaxation whose shifts cost least at an (n,) point of [0, 1]; layers wider than ``TUNED`` keep their shift."""
        shift = self.shift.copy()
        for filters, block in zip(self.problem.filters_of, self.problem.pairs.blocks, strict=False):
            if len(filters) <= TUNED and block.any():
                undecided = np.maximum(drop[filters] * (1 - drop[filters]), UNDECIDED)
                shift[filters] += tuned_shift(block, undecided) - uniform_shift(block)
        return Relaxation(self.problem, shift)

    def value(self, drop: Floats) -> tuple[float, Floats]:
        """The value of the relaxed damage at an (n,) point, and its (n,) gradient."""
        pull = self.problem.pairs.field(drop[None])[0] + self.shift * drop
        slope = self.problem.linear - 0.5 * self.shift
        return float(slope @ drop + 0.5 * drop @ pull), slope + pull

    def tangent(self, drop: Floats) -> tuple[float, Floats, Bools]:
        """Minimise the tangent at an (n,) point over all feasible masks.

        Returns:
            Its least value, which is a bound; the (n,) slope of the tangent; (n,) True for the filters that the minimiser drops.
        """
        value, slope = self.value(drop)
        gone = cheapest(self.problem, slope)
        return value + float(slope[gone].sum() - slope @ drop), slope, gone


@dataclass(frozen=True)
class Certificate:
    """A lower bound, with the tangent that proves it.

    Attributes:
        relaxation: the relaxation that was minimised.
        drop: (n,) its last point, nearly a minimiser.
        bound: damage that no feasible mask falls below.
        slope: (n,) slope of the tangent that gives the bound.
        gone: (n,) True for the filters that the feasible mask of least tangent value drops.
    """

    relaxation: Relaxation
    drop: Floats
    bound: float
    slope: Floats
    gone: Bools


def lower_bound(problem: PruningProblem) -> float | None:
    """Damage that no feasible mask falls below; None where the budget is a cost, as no bound is known then.

    Of the counts that a layer may keep, the bound uses the fewest and the most alone.

    References:
        Frank and Wolfe, "An algorithm for quadratic programming", 1956 (the dual value).
        Hammer and Rubin, "Some remarks on quadratic programming with 0-1 variables", 1970 (the shift of the diagonal).
    """
    proof = certificate(problem)
    return None if proof is None else proof.bound


def certificate(problem: PruningProblem) -> Certificate | None:
    """The bound of ``lower_bound`` with the tangent that proves it; None where the budget is a cost."""
    if not problem.budget.exact:
        return None
    plain = Relaxation.of(problem)
    start = minimised(plain, cheapest(problem, problem.linear).astype(np.float64))
    if not any(0 < block.size <= TUNED**2 and block.any() for block in problem.pairs.blocks):
        return start
    return max(start, minimised(plain.tuned(start.drop), start.drop), key=lambda proof: proof.bound)


def minimised(relaxation: Relaxation, drop: Floats) -> Certificate:
    """Minimise the relaxation by accelerated gradient steps (FISTA, restarted when it overshoots), and keep the best tangent.

    Args:
        relaxation: the relaxation.
        drop: (n,) feasible point of [0, 1] to start from.

    Returns:
        The certificate of the best tangent, less a margin for rounding errors.

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
    """An upper bound of the largest curvature: the largest row sum of the shifted blocks, plus the largest eigenvalue of the factor."""
    pairs = relaxation.problem.pairs
    below, above = Pairs(pairs.blocks).sums(relaxation.problem.layout.n)
    largest = float((above - below + relaxation.shift).max(initial=0))
    return largest if pairs.factor is None else largest + float(np.linalg.eigvalsh(pairs.factor @ pairs.factor.T)[-1])


def _loss_range(problem: PruningProblem) -> tuple[Ints, Ints]:
    """(l,) fewest and (l,) most filters that each layer may lose."""
    width = np.array([len(filters) for filters in problem.filters_of])
    return width - problem.budget.most, width - problem.budget.fewest


def cheapest(problem: PruningProblem, slope: Floats) -> Bools:
    """The feasible mask of least slope: (n,) True where a filter goes.

    Args:
        problem: its budget and the fewest and most filters of each layer are met.
        slope: (n,) price of dropping each filter.
    """
    fewest, most = _loss_range(problem)
    order = np.lexsort((slope, problem.layer_of))
    rank = np.empty(len(slope), np.int64)
    rank[order] = np.arange(len(slope)) - np.searchsorted(problem.layer_of, problem.layer_of)
    gone = rank < fewest[problem.layer_of]
    free = np.flatnonzero(~gone & (rank < most[problem.layer_of]))
    missing = problem.layout.n - int(problem.budget.limit) - int(gone.sum())
    gone[free[np.argsort(slope[free], kind="stable")[:missing]]] = True
    return gone


def projected(problem: PruningProblem, point: Floats) -> Floats:
    """Project an (n,) point onto the feasible points of [0, 1]: those whose sums meet the budget and each layer's range, by bisection."""
    fewest, most = _loss_range(problem)
    layer_of, starts = problem.layer_of, np.array([filters[0] for filters in problem.filters_of])
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


def decided(problem: PruningProblem, proof: Certificate, damage: float) -> tuple[Bools, Bools]:
    """Filters that every mask of less damage must keep, and those that it must drop (reduced-cost fixing).

    A filter is decided where the bound, with that filter forced the other way, exceeds the damage. Forcing it costs the tangent's best
    mask one exchange: with another filter of its layer, or of another layer whose count may change.

    Args:
        problem: the problem.
        proof: its certificate.
        damage: damage of a feasible mask.

    Returns:
        Two (n,) arrays: True where a filter must stay, and True where it must go.
    """
    fewest, most = _loss_range(problem)
    lost = np.bincount(problem.layer_of, weights=proof.gone, minlength=len(fewest))
    comes, goes = (
        _least_per_layer(problem, np.where(side, sign * proof.slope, np.inf)) for side, sign in ((~proof.gone, 1), (proof.gone, -1))
    )
    into, out = np.where(lost < most, comes, np.inf), np.where(lost > fewest, goes, np.inf)
    back = np.minimum(comes, np.where(lost > fewest, into.min(), np.inf))[problem.layer_of] - proof.slope  # another goes instead
    away = np.minimum(goes, np.where(lost < most, out.min(), np.inf))[problem.layer_of] + proof.slope  # another comes back instead
    room = damage - proof.bound + 1e-9 * (1 + abs(damage))
    return ~proof.gone & (away > room), proof.gone & (back > room)


def _least_per_layer(problem: PruningProblem, slope: Floats) -> Floats:
    """(l,) the least of (n,) slopes in each layer."""
    return np.array([slope[filters].min() for filters in problem.filters_of])
