"""Rules of operations that put channels elsewhere."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx

from qprune_cli.graph.rules.rule import Cut, Operands, Silent, some
from qprune_cli.graph.rules.writer import Writer
from qprune_cli.types import Bools, Ints


@dataclass(frozen=True)
class Cat(Silent):
    """Concatenation of the channels of several values."""

    widths: tuple[int, ...]
    axis: int

    @property
    def channels(self) -> int:
        """Of the output."""
        return sum(self.widths)

    def dead(self, inputs: list[Bools]) -> Bools:
        """One behind the other."""
        return np.concatenate(inputs)

    def takes(self, out_channels: Bools, inputs: list[Bools]) -> list[Bools | None]:
        """From each operand its part; an operand whose part is empty is left out."""
        parts = np.split(out_channels, np.cumsum(self.widths)[:-1])
        return [part if part.any() else None for part in parts]

    def emit(self, writer: Writer, node: fx.Node, operands: Operands, cut: Cut) -> fx.Node:
        """A shorter concatenation."""
        parts = [operand for operand in operands if operand is not None]
        return parts[0] if len(parts) == 1 else writer.call(torch.cat, (parts, self.axis))


@dataclass(frozen=True)
class Pick(Silent):
    """Some of the channels: a piece of ``chunk`` and ``split``, or ``x[:, a:b]``; ``rest`` indexes the other dimensions."""

    index: Ints
    width: int
    rest: tuple[Any, ...] = ()

    @property
    def channels(self) -> int:
        """Of the output."""
        return len(self.index)

    def dead(self, inputs: list[Bools]) -> Bools:
        """Those picked."""
        return np.asarray(inputs[0][self.index])

    def takes(self, out_channels: Bools, inputs: list[Bools]) -> list[Bools | None]:
        """The channels picked."""
        mask = np.zeros(self.width, bool)
        mask[self.index[out_channels]] = True
        return [mask]

    def emit(self, writer: Writer, node: fx.Node, operands: Operands, cut: Cut) -> fx.Node:
        """Nothing: the operand holds just these channels."""
        (operand,) = operands
        assert operand is not None
        return writer.index(operand, slice(None), slice(None), *self.rest) if self.rest else operand


@dataclass(frozen=True)
class Gather(Silent):
    """PixelShuffle: ``factor`` neighbouring channels become one, spread over the image."""

    channels: int
    factor: int

    def dead(self, inputs: list[Bools]) -> Bools:
        """Zero where all of them are."""
        return np.asarray(inputs[0].reshape(-1, self.factor).all(axis=1))

    def takes(self, out_channels: Bools, inputs: list[Bools]) -> list[Bools | None]:
        """Whole blocks: a filter that has gone is filled with zeros."""
        return [np.repeat(out_channels, self.factor)]

    def emit(self, writer: Writer, node: fx.Node, operands: Operands, cut: Cut) -> fx.Node:
        """The same operation on fewer channels."""
        return writer.copy(node, operands, None)


@dataclass(frozen=True)
class Spread(Silent):
    """Flatten and PixelUnshuffle: one channel becomes ``factor`` neighbouring ones."""

    channels: int
    factor: int
    build: Callable[[Writer, fx.Node, fx.Node], fx.Node] | None = None

    def dead(self, inputs: list[Bools]) -> Bools:
        """As the channel that each comes from."""
        return np.repeat(inputs[0], self.factor)

    def holds(self, target: Bools) -> Bools:
        """Whole blocks."""
        return np.repeat(self._blocks(some(target)), self.factor)

    def takes(self, out_channels: Bools, inputs: list[Bools]) -> list[Bools | None]:
        """The channel of each block."""
        return [self._blocks(out_channels)]

    def _blocks(self, mask: Bools) -> Bools:
        return np.asarray(mask.reshape(-1, self.factor).any(axis=1))

    def emit(self, writer: Writer, node: fx.Node, operands: Operands, cut: Cut) -> fx.Node:
        """The same operation on fewer channels."""
        (operand,) = operands
        assert operand is not None
        return self.build(writer, node, operand) if self.build else writer.copy(node, operands, None)


@dataclass(frozen=True)
class Place(Silent):
    """A scatter of a network that was made smaller before: each channel goes to its place, the others are 0."""

    index: Ints
    channels: int
    inputs: int
    axis: int

    def dead(self, inputs: list[Bools]) -> Bools:
        """Where nothing was put, or dead."""
        mask = np.ones(self.channels, bool)
        mask[self.index] = inputs[0][: len(self.index)]
        return mask

    def takes(self, out_channels: Bools, inputs: list[Bools]) -> list[Bools | None]:
        """What goes to places that stay."""
        return [some(out_channels[self.index] if len(self.index) else np.zeros(self.inputs, bool))]

    def emit(self, writer: Writer, node: fx.Node, operands: Operands, cut: Cut) -> fx.Node:
        """A scatter into fewer places."""
        (operand,), (in_channels,) = operands, cut.in_channels
        assert operand is not None and in_channels is not None
        mask = np.zeros(self.channels, bool)
        mask[self.index[in_channels[: len(self.index)]]] = True
        if not (mask & cut.out_channels).any():
            return writer.align(operand, in_channels, np.ones_like(in_channels), np.ones(int(cut.out_channels.sum()), bool), self.axis)
        return writer.align(operand, mask, ~mask, cut.out_channels, self.axis)


@dataclass(frozen=True)
class Lay(Silent):
    """A sum of a network that was made smaller before: channels of the second value are added at their places onto the first."""

    index: Ints
    channels: int
    axis: int

    def dead(self, inputs: list[Bools]) -> Bools:
        """Where both are."""
        return np.asarray(inputs[0] & self._placed(inputs[1], True))

    def takes(self, out_channels: Bools, inputs: list[Bools]) -> list[Bools | None]:
        """What it holds; of the second value what goes there, and nothing where that is dead."""
        wanted = out_channels[self.index]
        return [out_channels, wanted if (wanted & ~inputs[1]).any() else None]

    def _placed(self, mask: Bools, elsewhere: bool) -> Bools:
        placed = np.full(self.channels, elsewhere)
        placed[self.index] = mask
        return placed

    def emit(self, writer: Writer, node: fx.Node, operands: Operands, cut: Cut) -> fx.Node:
        """The sum on fewer channels."""
        total, value = operands
        assert total is not None
        if value is None:
            return total
        in_channels = self._placed(np.asarray(cut.in_channels[1]), False)
        value = writer.align(value, in_channels, np.zeros_like(in_channels), cut.out_channels, self.axis)
        return writer.total(total, value)


@dataclass(frozen=True)
class Stretch(Silent):
    """``expand_as``: a map of one position, spread over the image of another value, of which only the size counts."""

    channels: int
    like: fx.Node

    def dead(self, inputs: list[Bools]) -> Bools:
        """Where its input is."""
        return inputs[0]

    def takes(self, out_channels: Bools, inputs: list[Bools]) -> list[Bools | None]:
        """What it holds; of the other value nothing but its size."""
        return [out_channels, None]

    def emit(self, writer: Writer, node: fx.Node, operands: Operands, cut: Cut) -> fx.Node:
        """Spread over the size of the other value."""
        operand, size = operands[0], writer.call(getattr, (writer.written[self.like], "shape"))
        return writer.method("expand", operand, -1, -1, *(writer.call(operator.getitem, (size, dim)) for dim in (2, 3)))
