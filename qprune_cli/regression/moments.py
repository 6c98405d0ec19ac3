"""Least squares from running sums: rows are added and forgotten."""

from typing import Self

import torch
from torch import Tensor


class Moments:
    """Sums over rows ``x`` (p, g, d) and targets ``y`` (p, g, o), in float64: all that a linear fit and its error need.

    Args:
        groups: g, fits that are independent of each other.
        inputs: d, length of a row.
        outputs: o, length of a target.
        device: where the sums are kept.

    Attributes:
        count: number of rows.
        inner: (g, d, d) sum of ``x^T x``.
        cross: (g, d, o) sum of ``x^T y``.
        energy: (g, o) sum of ``y^2``.
        total: (g, d) sum of ``x``.

    Example:
        >>> rows, targets = torch.tensor([[[1.0, 1.0]], [[2.0, 1.0]]]), torch.tensor([[[3.0]], [[5.0]]])
        >>> moments = Moments(1, 2, 1, torch.device("cpu")).add(rows, targets)
        >>> moments.error(torch.tensor([[[2.0], [1.0]]], dtype=torch.float64)).tolist()
        [[0.0]]
        >>> [values.tolist() for values in moments.output_statistics(torch.tensor([[[2.0], [1.0]]], dtype=torch.float64))]
        [[[4.0]], [[1.0]]]
    """

    def __init__(self, groups: int, inputs: int, outputs: int, device: torch.device) -> None:
        self.count = 0
        self.inner = torch.zeros(groups, inputs, inputs, dtype=torch.float64, device=device)
        self.cross = torch.zeros(groups, inputs, outputs, dtype=torch.float64, device=device)
        self.energy = torch.zeros(groups, outputs, dtype=torch.float64, device=device)
        self.total = torch.zeros(groups, inputs, dtype=torch.float64, device=device)

    def add(self, rows: Tensor, targets: Tensor) -> Self:
        """Add (p, g, d) rows and (p, g, o) targets to the sums."""
        x, y = rows.double().transpose(0, 1), targets.double().transpose(0, 1)
        self.inner += x.mT @ x
        self.cross += x.mT @ y
        self.energy += (y * y).sum(dim=1)
        self.total += x.sum(dim=1)
        self.count += len(rows)
        return self

    def error(self, matrix: Tensor) -> Tensor:
        """(g, o) sum of squared differences between ``x @ matrix`` and the targets, with a (g, d, o) matrix."""
        return (self.energy - 2 * (matrix * self.cross).sum(dim=1) + (matrix * (self.inner @ matrix)).sum(dim=1)).clamp_min(0)

    def output_statistics(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """(g, o) mean and variance of ``x @ matrix``, with a (g, d, o) matrix."""
        mean = (self.total[:, None] @ matrix)[:, 0] / self.count
        return mean, ((matrix * (self.inner @ matrix)).sum(dim=1) / self.count - mean**2).clamp_min(0)

    def ridge(self, start: Tensor, strength: float, free: bool) -> Tensor:
        """Minimise ``||x W - y||^2 + mu ||W - start||^2``; ``mu`` is the strength times the mean squared input.

        Args:
            start: (g, d, o) weights that the fit is drawn to.
            strength: larger stays nearer to the start.
            free: whether the last input is a bias, which costs nothing to move.

        Returns:
            (g, d, o) the weights W; the start where the system is singular.
        """
        squares = torch.diagonal(self.inner, dim1=1, dim2=2)[:, : -1 if free else None]
        nonzero = squares > 0
        mean = (squares.sum(dim=1) / nonzero.sum(dim=1).clamp_min(1)).clamp_min(1e-12)
        penalty = (strength * mean)[:, None].expand(-1, self.inner.shape[1]).clone()
        if free:
            penalty[:, -1] = 0
        system = self.inner.clone()
        torch.diagonal(system, dim1=1, dim2=2).add_(penalty)
        factor, failed = torch.linalg.cholesky_ex(system)
        if failed.any():  # rounding made the system singular: stay
            return start
        return start + torch.cholesky_solve(self.cross - self.inner @ start, factor)
