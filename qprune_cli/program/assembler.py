"""Assembles an affine vector from entries of several kinds."""

import numpy as np
from scipy import sparse

from qprune_cli.program.affine import Affine
from qprune_cli.types import Floats, Ints


class AffineAssembler:
    """The entries of a new affine vector of m entries, set kind by kind; those that are never set are 0.

    Args:
        length: m.
    """

    def __init__(self, length: int) -> None:
        self.rows: list[Ints] = []
        self.columns: list[Ints] = []
        self.numbers: list[Floats] = []
        self.constant, self.low, self.high = np.zeros(length), np.zeros(length), np.zeros(length)

    def set_variables(self, rows: Ints, variables: Ints, low: Floats, high: Floats) -> None:
        """Set (k,) entries to (k,) variables, with their bounds."""
        self._add(rows, variables, np.ones(len(rows)))
        self.low[rows], self.high[rows] = low, high

    def set_numbers(self, rows: Ints, numbers: Floats, scores: Ints) -> None:
        """Set (k,) entries to numbers, each times its score where it has one (-1 for none): linear and exact."""
        gated = (scores >= 0) & (numbers != 0)
        self._add(rows[gated], scores[gated], numbers[gated])
        self.constant[rows[~gated]] = np.where(scores[~gated] >= 0, 0.0, numbers[~gated])
        self.low[rows] = np.where(scores >= 0, np.minimum(numbers, 0), numbers)
        self.high[rows] = np.where(scores >= 0, np.maximum(numbers, 0), numbers)

    def set_same(self, rows: Ints, value: Affine) -> None:
        """Set (k,) entries to the same entries of another vector of m entries."""
        part = value.at(rows).matrix.tocoo()
        self._add(rows[part.row], part.col, part.data)
        self.constant[rows], self.low[rows], self.high[rows] = value.constant[rows], value.low[rows], value.high[rows]

    def set_entry(self, row: int, value: Affine, entry: int) -> None:
        """Set one entry to any entry of another vector."""
        start, stop = value.matrix.indptr[entry : entry + 2]
        self._add(np.full(stop - start, row), value.matrix.indices[start:stop], value.matrix.data[start:stop])
        self.constant[row], self.low[row], self.high[row] = value.constant[entry], value.low[entry], value.high[entry]

    def build(self, count: int) -> Affine:
        """The vector of all entries, for ``count`` variables."""
        rows, columns, numbers = (np.concatenate(part) if part else np.zeros(0) for part in (self.rows, self.columns, self.numbers))
        matrix = sparse.csr_matrix((numbers, (rows.astype(int), columns.astype(int))), shape=(len(self.constant), count))
        return Affine(matrix, self.constant, self.low, self.high)

    def _add(self, rows: Ints, columns: Ints, numbers: Floats) -> None:
        self.rows.append(np.asarray(rows))
        self.columns.append(np.asarray(columns))
        self.numbers.append(np.asarray(numbers, float))
