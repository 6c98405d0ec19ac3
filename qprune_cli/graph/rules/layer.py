"""Layers that own filters: convolutions, transposed convolutions, linear layers, grouped or not."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx, nn

from qprune_cli.graph.rules.rule import Cut, Operands, some
from qprune_cli.graph.rules.writer import Writer
from qprune_cli.types import Bools

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


@dataclass(frozen=True)
class Layer:
    """The rule of a layer: each filter reads all inputs of its group.

    A grouped layer has equally many inputs, and equally many filters, in every group. Where a mask leaves unequal numbers, the
    smaller groups are filled up: with zero kernels on the side of the inputs, with filters that nobody reads on the other.

    Attributes:
        module: the layer.
        channels: filters.
        inputs: channels that it reads.
        groups: independent parts.
    """

    module: Any  # of LAYERS
    channels: int
    inputs: int
    groups: int

    @staticmethod
    def of(module: nn.Module) -> "Layer":
        """The rule of a module of ``LAYERS``."""
        if isinstance(module, nn.Linear):
            return Layer(module, module.out_features, module.in_features, 1)
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        return Layer(module, module.out_channels, module.in_channels, module.groups)

    @property
    def transposed(self) -> bool:
        """Whether its weight has the inputs first."""
        return isinstance(self.module, nn.ConvTranspose2d)

    @property
    def kernel(self) -> int:
        """Weights of one filter for one input."""
        return int(np.prod(self.module.weight.shape[2:]))

    @property
    def products(self) -> int:
        """Weights of the whole layer."""
        return self.channels * (self.inputs // self.groups) * self.kernel

    def dead(self, inputs: list[Bools]) -> Bools:
        """A filter without bias that reads only zeros."""
        blind = np.asarray(inputs[0].reshape(self.groups, -1).all(axis=1))
        return np.repeat(blind & (self.module.bias is None), self.channels // self.groups)

    def holds(self, target: Bools) -> Bools:
        """The same number of filters in every group that has any."""
        return _level(some(target), self.groups)

    def takes(self, out_channels: Bools, inputs: list[Bools]) -> list[Bools | None]:
        """The inputs that are not 0, of every group that has filters; the same number in each."""
        inhabited = np.asarray(out_channels.reshape(self.groups, -1).any(axis=1))
        wanted = (~inputs[0]).reshape(self.groups, -1) & inhabited[:, None]
        wanted[inhabited, 0] |= ~wanted[inhabited].any(axis=1)
        return [_level(wanted.reshape(-1), self.groups)]

    def size(self, out_channels: Bools, in_channels: list[Bools | None]) -> tuple[int, int]:
        """Weights and biases; every weight is multiplied once for each position."""
        (reads,) = in_channels
        assert reads is not None
        inhabited = int(out_channels.reshape(self.groups, -1).any(axis=1).sum())
        kernels = int(out_channels.sum()) * (int(reads.sum()) // inhabited) * self.kernel
        return kernels + (int(out_channels.sum()) if self.module.bias is not None else 0), kernels

    def emit(self, writer: Writer, node: fx.Node, operands: Operands, cut: Cut) -> fx.Node:
        """A layer with the weights that stay."""
        (reads,), dead = cut.in_channels, cut.inputs[0]
        assert reads is not None
        if cut.out_channels.all() and reads.all() and not dead.any():
            return writer.copy(node, operands, None)
        small = self._smaller(cut.out_channels, reads, dead)
        return writer.module(node, small, operands)

    def _smaller(self, out_channels: Bools, reads: Bools, dead: Bools) -> nn.Module:
        module, weight = self.module, self.module.weight.detach()
        inhabited = int(out_channels.reshape(self.groups, -1).any(axis=1).sum())
        rows, columns = np.flatnonzero(out_channels), np.flatnonzero(reads)
        per_out, per_in = self.channels // self.groups, self.inputs // self.groups
        if self.transposed:
            part = _part(weight, columns, rows, per_in, per_out)  # (inputs, filters of a group, ...)
            part[dead[columns]] = 0
        else:
            part = _part(weight, rows, columns, per_out, per_in)
            blank = dead[columns].reshape(inhabited, -1)[np.repeat(np.arange(inhabited), len(rows) // inhabited)]
            part[torch.from_numpy(blank)] = 0
        small: Any = self.resized(len(columns), len(rows), inhabited)
        small.weight = nn.Parameter(part.contiguous(memory_format=_format(weight)), self.module.weight.requires_grad)
        if module.bias is not None:
            small.bias = nn.Parameter(module.bias.detach()[torch.from_numpy(rows)].clone(), module.bias.requires_grad)
        small.train(module.training)
        return cast(nn.Module, small)

    def resized(self, inputs: int, filters: int, groups: int) -> nn.Module:
        """A layer of another size, its weights still without memory."""
        module, bias = self.module, self.module.bias is not None
        if isinstance(module, nn.Linear):
            return nn.Linear(inputs, filters, bias, device="meta")
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        same = {name: getattr(module, name) for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
        if isinstance(module, nn.ConvTranspose2d):
            same["output_padding"] = module.output_padding
        return type(module)(inputs, filters, groups=groups, bias=bias, device="meta", **same)


def _level(mask: Bools, groups: int) -> Bools:
    """Fill up the groups of a mask to the number of the fullest one; empty groups stay empty."""
    blocks = mask.reshape(groups, -1)
    counts = blocks.sum(axis=1)
    if groups == 1 or (counts[counts > 0] == counts.max()).all():
        return mask
    order = np.argsort(~blocks, axis=1, kind="stable")
    filled = np.zeros_like(blocks)
    np.put_along_axis(filled, order[:, : counts.max()], True, axis=1)
    return np.asarray((filled & (counts > 0)[:, None]).reshape(-1))


def _part(weight: Tensor, first: np.ndarray, second: np.ndarray, per_first: int, per_second: int) -> Tensor:
    """Cut a grouped weight (first, second of one group, ...): every group keeps the second entries that are its own."""
    own = {group: second[second // per_second == group] % per_second for group in np.unique(second // per_second)}
    columns = np.stack([own[group] for group in first // per_first])
    return weight[torch.from_numpy(first)[:, None], torch.from_numpy(columns)].clone()


def _format(weight: Tensor) -> torch.memory_format:
    """channels_last stays channels_last: some devices are faster with it."""
    last = weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format
