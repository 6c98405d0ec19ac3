"""Vectors of affine functions of the variables of a program, with bounds."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from qprune_cli.types import Bools, Floats, Ints


@dataclass(frozen=True)
class Affine:
    """A vector of m affine functions ``matrix x + constant`` of the variables, with bounds that hold at every feasible point.

    Attributes:
        matrix: (m, v) sparse; v is the number of variables at the time when it was made (see ``wide``).
        constant: (m,) constant terms.
        low: (m,) lower bounds.
        high: (m,) upper bounds.
    """

    matrix: sparse.csr_matrix
    constant: Floats
    low: Floats
    high: Floats

    @staticmethod
    def fixed(values: Floats, slack: float = 0.0) -> "Affine":
        """Make a vector of (m,) numbers; ``slack`` widens their bounds on both sides."""
        return Affine(sparse.csr_matrix((len(values), 0)), values, values - slack, values + slack)

    @property
    def is_fixed(self) -> Bools:
        """(m,) True where the entry is a number, with no variable in it."""
        return np.asarray(np.diff(self.matrix.indptr) == 0)

    def __len__(self) -> int:
        return len(self.constant)

    def at(self, entries: Ints | Bools) -> "Affine":
        """The vector of some of its entries, by (k,) numbers or (m,) flags."""
        return Affine(self.matrix[entries], self.constant[entries], self.low[entries], self.high[entries])


def wide(matrix: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """An (m, v) matrix as (m, count), with zeros for the variables that were added since."""
    return sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], count))


def selection(variables: Ints, count: int) -> sparse.csr_matrix:
    """(len(variables), count) rows that pick one variable each."""
    return sparse.csr_matrix((np.ones(len(variables)), (np.arange(len(variables)), variables)), shape=(len(variables), count))
