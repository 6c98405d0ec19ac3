"""Shifts of a diagonal that make couplings convex."""

import numpy as np

from qprune_cli.types import Floats

BARRIERS = 10  # times that the barrier is lowered
LOWER = 0.3  # by this factor
MARGIN = 1e-12  # share of the largest eigenvalue that is added for rounding errors


def uniform(block: Floats) -> float:
    """The least number that makes couplings positive semidefinite when it is added to their diagonal.

    Example:
        >>> round(uniform(np.array([[0.0, 2.0], [2.0, 0.0]])), 6)
        2.0
    """
    if not block.any():
        return 0.0
    values = np.linalg.eigvalsh(block.astype(np.float64))
    return max(0.0, -float(values[0])) + MARGIN * float(np.abs(values).max())


def tuned(block: Floats, weight: Floats) -> Floats:
    """The diagonal of least weighted sum that makes couplings positive semidefinite, nearly (a log-det barrier, by Newton steps).

    What a shift costs a relaxation is its weight, ``d_i (1 - d_i) / 2``: nothing where a filter is decided. Whatever the iterations
    reach, the result is made valid by its least eigenvalue.

    Args:
        block: (m, m) symmetric couplings with a diagonal of 0.
        weight: (m,) above 0.

    Returns:
        (m,) the diagonal.

    References:
        Billionnet et al., "Improving the performance of standard solvers for quadratic 0-1 programs by a tight convex reformulation",
        2009 (the same diagonal by semidefinite programming).
    """
    level = uniform(block)
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
    return np.asarray(level * (shift + uniform(block + np.diag(shift))))


def _inside(block: Floats, shift: Floats, step: Floats) -> Floats:
    """As much of a step as keeps the shifted couplings positive definite."""
    for length in (0.95, 0.5, 0.25, 0.1, 0.02):
        candidate = shift + length * step
        try:
            np.linalg.cholesky(block + np.diag(candidate))
        except np.linalg.LinAlgError:
            continue
        return np.asarray(candidate)
    return shift
