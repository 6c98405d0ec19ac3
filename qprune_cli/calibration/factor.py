"""A Gram matrix as a factor of few rows, from rows that are added and forgotten."""

import numpy as np

from qprune_cli.types import Floats

ROWS = 512  # that a factor has at most


class GramFactor:
    """Sums ``x x^T`` over rows x (n,) as ``F^T F`` with a factor F (rows, n).

    Rows are kept as they are while they are few, so the sum is exact. When they reach twice the cap they are compressed to
    ``cap`` rows by a singular value decomposition: the best approximation of that rank, which never exceeds the sum. Where n is
    at most the cap that is exact as well. Memory does not grow with the number of rows.

    Args:
        n: length of a row.
        cap: rows that the factor has at most.

    Example:
        >>> factor = GramFactor(2, cap=2).add(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 2.0]])).rows()
        >>> (factor.T @ factor).round(6).tolist()
        [[2.0, 0.0], [0.0, 8.0]]
    """

    def __init__(self, n: int, cap: int = ROWS) -> None:
        self.cap = cap
        self.stored: Floats = np.empty((0, n))

    def add(self, rows: Floats) -> "GramFactor":
        """Take (rows, n) in."""
        self.stored = np.concatenate([self.stored, rows])
        if len(self.stored) >= 2 * self.cap:
            self.stored = self._compressed()
        return self

    def rows(self) -> Floats:
        """(rows, n) the factor, of at most ``cap`` rows."""
        return self._compressed() if len(self.stored) > self.cap else self.stored

    def _compressed(self) -> Floats:
        _, size, directions = np.linalg.svd(self.stored, full_matrices=False)
        found: Floats = size[: self.cap, None] * directions[: self.cap]
        return found


class Halves:
    """Two Gram matrices as factors, of the even and of the odd images, so that one can be held against the other.

    Args:
        n: length of a row.
    """

    def __init__(self, n: int) -> None:
        self.factors = GramFactor(n), GramFactor(n)
        self.counts = [0, 0]

    def add(self, rows: Floats, first: int) -> None:
        """Take (N, n) in, one row of each image; ``first`` is the number of the first one."""
        for parity, factor in enumerate(self.factors):
            own = rows[(parity + first) % 2 :: 2]
            factor.add(own)
            self.counts[parity] += len(own)

    def rows(self) -> tuple[Floats, Floats]:
        """The factors of the means: each divided by the root of the number of its rows."""
        even, odd = (factor.rows() / np.sqrt(max(count, 1)) for factor, count in zip(self.factors, self.counts, strict=True))
        return even, odd
