"""A Gram matrix as a factor of few rows, from rows that are added and forgotten."""

from typing import Self

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

    def add(self, rows: Floats) -> Self:
        """Add (rows, n) to the sum."""
        self.stored = np.concatenate([self.stored, rows])
        if len(self.stored) >= 2 * self.cap:
            self.stored = self._compressed()
        return self

    def rows(self) -> Floats:
        """(rows, n) the factor F, of at most ``cap`` rows."""
        return self._compressed() if len(self.stored) > self.cap else self.stored

    def _compressed(self) -> Floats:
        _, singular, directions = np.linalg.svd(self.stored, full_matrices=False)
        factor: Floats = singular[: self.cap, None] * directions[: self.cap]
        return factor


class Halves:
    """Two Gram matrices as factors, of the even and of the odd images, so that one can be compared with the other.

    Args:
        n: length of a row.
    """

    def __init__(self, n: int) -> None:
        self.factors = GramFactor(n), GramFactor(n)
        self.counts = [0, 0]

    def add(self, rows: Floats, first: int) -> None:
        """Add (N, n), one row for each image; ``first`` is the number of the first image, which says whether it is even or odd."""
        for parity, factor in enumerate(self.factors):
            half = rows[(parity + first) % 2 :: 2]
            factor.add(half)
            self.counts[parity] += len(half)

    def rows(self) -> tuple[Floats, Floats]:
        """The factors (rows, n) of the means: each divided by the root of the number of rows that were added to it."""
        even, odd = (factor.rows() / np.sqrt(max(count, 1)) for factor, count in zip(self.factors, self.counts, strict=True))
        return even, odd
