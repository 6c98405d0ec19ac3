"""The normal equations of one layer at a mask, and what becomes of them when some channels that the layer reads change."""

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.regression.linear_map import Positions, drawn_positions, layer_pairs, matrix_of, weight_of
from qprune_cli.regression.moments import Moments
from qprune_cli.regression.norm import Statistics, folded
from qprune_cli.replay.channels import ChangedChannels
from qprune_cli.replay.gated import Weights

POSITIONS = 4000  # of each layer, over all images


@dataclass(frozen=True)
class LayerEquations:
    """The least squares of a layer at the base mask, at fixed positions of its output.

    Attributes:
        module: the layer of the fitted network.
        positions: (p,) rows and columns, of every image.
        rows: (N * p, d) what it reads.
        targets: (N * p, o) what the dense layer gives.
        moments: sums of products of rows and targets.
        start: (1, d, o) the dense weights.
        fitted: (1, d, o) the weights at the base mask.
        strength: of the ridge; None where the weights stay as they are.
        norm: that reads what the layer gives and whose statistics follow that; None where there is none.
    """

    module: nn.Conv2d
    positions: Positions
    rows: Tensor
    targets: Tensor
    moments: Moments
    start: Tensor
    fitted: Tensor
    strength: float | None
    norm: Any

    @staticmethod
    def drawn(
        module: nn.Conv2d, dense: nn.Module, x: Tensor, y: Tensor, strength: float | None, norm: Any, rng: np.random.Generator
    ) -> "LayerEquations":
        """The equations at random positions.

        Args:
            module: the layer of the fitted network.
            dense: the same layer of the dense network.
            x: (N, C, H, W) what the fitted layer reads at the base mask.
            y: (N, O, H, W) what the dense layer gives without a mask.
            strength: of the ridge; None where the weights stay as they are.
            norm: that reads what the layer gives and whose statistics follow that; None where there is none.
            rng: draws the positions.
        """
        positions = drawn_positions(y[0], -(-POSITIONS // len(y)), rng)
        rows = rows_of(module, x, positions)
        targets = y[:, :, positions[0], positions[1]].transpose(1, 2).flatten(0, 1)
        start, fitted = matrix_of(dense).double(), matrix_of(module).double()
        moments = Moments(1, start.shape[1], start.shape[2], y.device).add(rows[:, None], targets[:, None])
        return LayerEquations(module, positions, rows, targets, moments, start, fitted, strength, norm)

    def weights(self, inputs: ChangedChannels) -> Weights:
        """Weight and bias of the layer when some channels that it reads are others."""
        # differences between two fits, and between two statistics, on the same rows: nothing changes where the mask does not
        moments = self.changed_moments(inputs)
        matrix = self.fitted + self._solved(moments) - self._solved_before
        weights = weight_of(self.module, matrix)
        return weights if self.norm is None else folded(self.norm, weights, self._statistics_before, _statistics(moments, matrix))

    def changed_moments(self, inputs: ChangedChannels) -> Moments:
        """The moments when some channels that the layer reads are others: only the products with these are computed."""
        taps = self.module.kernel_size[0] * self.module.kernel_size[1]
        columns = (inputs.index[:, None] * taps + torch.arange(taps, device=inputs.index.device)).flatten()
        new = rows_of(self.module, inputs.values, self.positions)[:, : len(columns)].double()
        cross = self.rows.double().mT @ new
        cross[columns] = new.mT @ new
        moments = copy.copy(self.moments)
        moments.inner, moments.cross, moments.total = moments.inner.clone(), moments.cross.clone(), moments.total.clone()
        moments.inner[0][:, columns], moments.inner[0][columns] = cross, cross.mT
        moments.cross[0][columns] = new.mT @ self.targets.double()
        moments.total[0][columns] = new.sum(dim=0)
        return moments

    def _solved(self, moments: Moments) -> Tensor:
        """(1, d, o) the weights that fit best."""
        return self.fitted if self.strength is None else moments.ridge(self.start, self.strength, self.module.bias is not None)

    @cached_property
    def _solved_before(self) -> Tensor:
        """(1, d, o) the weights that fit best at the base mask."""
        return self._solved(self.moments)

    @cached_property
    def _statistics_before(self) -> Statistics:
        """(o,) mean and variance of what the layer gives at the base mask."""
        return _statistics(self.moments, self.fitted)


def rows_of(module: nn.Module, x: Tensor, positions: Positions) -> Tensor:
    """(N * p, d) what a layer reads at output positions, of (N, C, H, W) inputs or of some of their channels."""
    empty = x.new_empty(1, *(int(position.max()) + 1 for position in positions))
    return torch.cat([layer_pairs(module, image, empty, positions)[0][:, 0] for image in x])


def _statistics(moments: Moments, matrix: Tensor) -> Statistics:
    """(o,) mean and variance of what a layer without groups gives with a (1, d, o) matrix."""
    mean, variance = moments.output_statistics(matrix)
    return mean[0], variance[0]
