"""Shifts of a diagonal that make a quadratic function of couplings convex."""

import numpy as np

from qprune_cli.types import Floats

BARRIERS = 10  # times that the barrier is lowered
LOWER = 0.3  # by this factor
MARGIN = 1e-12  # share of the largest eigenvalue that is added for rounding errors


def uniform_shift(block: Floats) -> float:
    """The least number that makes (m, m) couplings positive semidefinite when it is added to their whole diagonal.

    Example:
        >>> round(uniform_shift(np.array([[0.0, 2.0], [2.0, 0.0]])), 6)
        2.0
    """
    if not block.any():
        return 0.0
    values = np.linalg.eigvalsh(block.astype(np.float64))
    return max(0.0, -float(values[0])) + MARGIN * float(np.abs(values).max())


def tuned_shift(block: Floats, weight: Floats) -> Floats:
    """The diagonal that makes couplings positive semidefinite at nearly the least weighted sum (a log-det barrier, by Newton steps).

    A shift lowers the value of a relaxation by ``d_i (1 - d_i) / 2`` times its size, which is nothing where a filter is decided; that is
    what weights stand for. At the end the diagonal is raised by its least eigenvalue, so it is valid however far the iterations came.

    Args:
        block: (m, m) symmetric couplings with a diagonal of 0.
        weight: (m,) price of a shift of each entry, above 0; only their ratios matter.

    Returns:
        (m,) what to add to the diagonal.

    References:
        Billionnet et al., "Improving the performance of standard solvers for quadratic 0-1 programs by a tight convex reformulation",
        2009 (the same diagonal by semidefinite programming).
    """
    level = uniform_shift(block)
    if level == 0:
        return np.zeros(len(block))
    block, weight = block / level, weight / weight.mean()
    shift, barrier = np.full(len(block), 1.1), 1.0
    for _ in range(BARRIERS):
        barrier *= LOWER
        for _ in range(2):
            inverse = np.linalg.inv(block + np.diag(shift))
            step = np.linalg.solve(barrier * np.square(inverse), barrier * np.diagonal(inverse) - weight)
            shift = _inside(block, shift, step)
    return np.asarray(level * (shift + uniform_shift(block + np.diag(shift))))


def _inside(block: Floats, shift: Floats, step: Floats) -> Floats:
    """The (m,) shift after as much of a step as keeps the shifted couplings positive definite."""
    for length in (0.95, 0.5, 0.25, 0.1, 0.02):
        candidate = shift + length * step
        try:
            np.linalg.cholesky(block + np.diag(candidate))
        except np.linalg.LinAlgError:
            continue
        return np.asarray(candidate)
    return shift
