"""A mixed integer program as arrays: variables with bounds, sparse rows, and the convex functions that losses need."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from qprune_cli.types import Bools, Floats, Ints


@dataclass(frozen=True)
class Program:
    """Minimise ``cost . x + constant`` over v variables, subject to ``low <= rows x <= high``, bounds, and integrality.

    It consists of arrays alone, so that it can be sent to other processes.

    Attributes:
        cost: (v,) linear objective.
        lower: (v,) lower bounds of the variables.
        upper: (v,) upper bounds of the variables.
        integer: (v,) True where the variable is 0 or 1.
        rows: (r, v) sparse matrix of the rows.
        low: (r,) lower bounds of the rows.
        high: (r,) upper bounds of the rows.
        squares: (k, 2) pairs of variables (z, q) with ``q >= z ** 2``.
        exponentials: sets of variables u with ``sum exp(u) <= 1``.
        products: (k, 3) triples of variables (p, a, b) with ``p = a * b``.
        scores: (n,) the variables that are scores.
        outputs: (m, v) sparse; the outputs of the network are ``outputs x + outputs_constant`` at a point x of the program.
        outputs_constant: (m,) see ``outputs``.
        constant: constant term of the objective.
        start: (v,) a point to begin the search with; None where none is known.
    """

    cost: Floats
    lower: Floats
    upper: Floats
    integer: Bools
    rows: sparse.csr_matrix
    low: Floats
    high: Floats
    squares: Ints
    exponentials: tuple[Ints, ...]
    products: Ints
    scores: Ints
    outputs: sparse.csr_matrix
    outputs_constant: Floats
    constant: float = 0.0
    start: Floats | None = None

    def relaxed(self) -> "Program":
        """The continuous relaxation: the same program with no variable integer."""
        return replace(self, integer=np.zeros_like(self.integer))

    def at(self, scores: Floats) -> "Program":
        """The same program with its scores fixed to (n,) numbers."""
        lower, upper = self.lower.copy(), self.upper.copy()
        lower[self.scores] = upper[self.scores] = scores
        return replace(self, lower=lower, upper=upper, start=None)

    def outputs_of(self, x: Floats) -> Floats:
        """(m,) outputs of the network at a (v,) point of the program."""
        return np.asarray(self.outputs @ x + self.outputs_constant)
