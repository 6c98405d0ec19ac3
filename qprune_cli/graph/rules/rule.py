"""How channels go through an operation: one small class per way of it.

Forward a rule says which channels of its output are *dead*: exactly 0 on every image, whatever the weights are. Backward it says
which input channels the channels that its output *holds* take. Nothing here looks at weights, so what a mask leaves of a network
does not change when the network is trained. Only ``emit``, which writes the smaller network, knows torch.fx.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import fx, nn

from qprune_cli.graph.rules.writer import Writer
from qprune_cli.types import Bools

Operands = Sequence[fx.Node | None]


@dataclass(frozen=True)
class Cut:
    """What is left of an operation.

    Attributes:
        out_channels: (channels,) what its smaller result has.
        in_channels: what each operand has for that; None where it is left out.
        inputs: which channels of each operand are dead.
    """

    out_channels: Bools
    in_channels: list[Bools | None]
    inputs: list[Bools]


class Rule(Protocol):
    """How channels follow through one operation; see the module."""

    @property
    def channels(self) -> int:
        """Of the output."""

    def dead(self, inputs: list[Bools]) -> Bools:
        """Channels of the output that are dead."""

    def holds(self, target: Bools) -> Bools:
        """Channels that the smaller output has, at least ``target`` and never none."""

    def takes(self, out_channels: Bools, inputs: list[Bools]) -> list[Bools | None]:
        """Channels that each operand must have for that; None where the operand is not needed at all."""

    def size(self, out_channels: Bools, in_channels: list[Bools | None]) -> tuple[int, int]:
        """Parameters, and multiply-accumulates for each position."""

    def emit(self, writer: Writer, node: fx.Node, operands: Operands, cut: Cut) -> fx.Node:
        """Write the smaller operation; operands have the channels ``cut.in_channels``."""


def some(mask: Bools) -> Bools:
    """The mask, or its first entry where it is empty: no tensor is left without channels."""
    if mask.any():
        return mask
    first = np.zeros_like(mask)
    first[0] = True
    return first


class Silent:
    """What most rules do alike: they hold no more than they must, and have no parameters."""

    def holds(self, target: Bools) -> Bools:
        """What it must, and never nothing."""
        return some(target)

    def size(self, out_channels: Bools, in_channels: list[Bools | None]) -> tuple[int, int]:
        """Nothing."""
        return 0, 0


@dataclass(frozen=True)
class Same(Silent):
    """Every channel by itself: activations, pooling, norms that look at one channel, changes of place.

    Attributes:
        channels: in and out.
        keeps_zero: whether 0 becomes 0.
        params: parameters of each channel.
        own: whether its module holds something for each channel, which goes with it.
        build: writes the operation; None copies it as it is.
    """

    channels: int
    keeps_zero: bool = True
    params: int = 0
    own: bool = False
    build: Callable[[Writer, fx.Node, fx.Node], fx.Node] | None = None

    def dead(self, inputs: list[Bools]) -> Bools:
        """Zero where its input is, unless it shifts."""
        return inputs[0] & self.keeps_zero

    def takes(self, out_channels: Bools, inputs: list[Bools]) -> list[Bools | None]:
        """What it holds."""
        return [out_channels]

    def size(self, out_channels: Bools, in_channels: list[Bools | None]) -> tuple[int, int]:
        """Parameters of the channels that stay."""
        return self.params * int(out_channels.sum()), 0

    def emit(self, writer: Writer, node: fx.Node, operands: Operands, cut: Cut) -> fx.Node:
        """The same operation on fewer channels."""
        (operand,) = operands
        assert operand is not None
        return self.build(writer, node, operand) if self.build else writer.copy(node, operands, cut.out_channels if self.own else None)


@dataclass(frozen=True)
class Whole(Silent):
    """Needs every channel of its input, and no channel of its output is dead: norms over channels, black boxes, the output."""

    channels: int

    def dead(self, inputs: list[Bools]) -> Bools:
        """None."""
        return np.zeros(self.channels, bool)

    def holds(self, target: Bools) -> Bools:
        """Everything."""
        return np.ones(self.channels, bool)

    def takes(self, out_channels: Bools, inputs: list[Bools]) -> list[Bools | None]:
        """Everything."""
        return [np.ones_like(one, bool) for one in inputs]

    def emit(self, writer: Writer, node: fx.Node, operands: Operands, cut: Cut) -> fx.Node:
        """The operation as it is."""
        return writer.copy(node, operands, None)


def check_plain(module: nn.Module) -> str | None:
    """Say why a module of torch is not what its class promises; None where it is."""
    if set(dict(module.named_parameters())) - {"weight", "bias"}:
        return "its weights are parametrized; fuse them first (torch.nn.utils.parametrize.remove_parametrizations, or remove_weight_norm)"
    if module._forward_hooks or module._forward_pre_hooks:
        return "a hook changes what it does; remove it first"
    return None
