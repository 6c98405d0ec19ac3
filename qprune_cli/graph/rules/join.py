"""The rule of arithmetic between two values."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx

from qprune_cli.graph.rules.rule import Cut, Operands, Silent
from qprune_cli.graph.rules.writer import Writer
from qprune_cli.types import Bools


@dataclass(frozen=True)
class Operand:
    """One side of an arithmetic operation.

    Attributes:
        node: a value with channels, or a tensor that does not depend on the image; None for a number.
        number: the number, where it is one.
        moving: whether it depends on the image.
        wide: whether it has the channels of the result; one channel is shared by all.
        full: whether it has the shape of the result.
        axis: of its channels, where it does not depend on the image; None where it has none.
        params: how many it has for each channel, where it is a parameter that shrinks with them.
    """

    node: Any
    number: float | None = None
    wide: bool = True
    full: bool = True
    axis: int | None = None
    moving: bool = True
    params: int = 0


# Whether the result is 0 where the first, and the second, operand is.
ARITHMETIC: dict[Callable[..., Any], Callable[[Bools, Bools], Bools]] = {
    operator.add: np.logical_and,
    operator.sub: np.logical_and,
    operator.mul: np.logical_or,
    operator.truediv: lambda first, second: first,
    torch.maximum: np.logical_and,
    torch.minimum: np.logical_and,
}


def is_sum(rule: object) -> bool:
    """Whether a rule is that of a sum, whose channels that are 0 hold zeros indeed, as its operands were scattered."""
    return isinstance(rule, Join) and rule.function is operator.add


@dataclass(frozen=True)
class Join(Silent):
    """Arithmetic of two values, channel by channel; a branch that holds fewer channels is scattered into those of the result."""

    channels: int
    function: Callable[..., Any]
    sides: tuple[Operand, Operand]
    values: tuple[Operand, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(side for side in self.sides if side.moving))

    def dead(self, inputs: list[Bools]) -> Bools:
        """Where both summands are, or one of two factors."""
        moving = iter(inputs)
        sides = [next(moving) if side.moving else np.array([side.number == 0]) for side in self.sides]
        return np.broadcast_to(ARITHMETIC[self.function](*sides), (self.channels,))

    def takes(self, out_channels: Bools, inputs: list[Bools]) -> list[Bools | None]:
        """What it holds; a summand that is 0 there is left out where the other one has the shape of the result."""
        in_channels: list[Bools | None] = [out_channels if side.wide else np.ones(1, bool) for side in self.values]
        for k in self._droppable():
            mask = in_channels[k]
            if mask is not None and inputs[k][mask].all() and self._other(k).full and self._rests(in_channels, k):
                in_channels[k] = None
        return in_channels

    def _droppable(self) -> list[int]:
        places = {operator.add: (0, 1), operator.sub: (1,)}.get(self.function, ())
        return [k for k, side in enumerate(self.values) if any(self.sides[place] is side for place in places)]

    def _other(self, k: int) -> Operand:
        return next(side for side in self.sides if side is not self.values[k])

    def _rests(self, in_channels: list[Bools | None], k: int) -> bool:
        return any(mask is not None for j, mask in enumerate(in_channels) if j != k)

    def size(self, out_channels: Bools, in_channels: list[Bools | None]) -> tuple[int, int]:
        """Parameters of a side that shrinks."""
        return int(out_channels.sum()) * sum(side.params for side in self.sides), 0

    def emit(self, writer: Writer, node: fx.Node, operands: Operands, cut: Cut) -> fx.Node:
        """The same arithmetic on fewer channels; the other operand where one is left out."""
        moving = iter(operands)
        sides = [
            next(moving) if side.moving else writer.still(side.node, side.axis, cut.out_channels, bool(side.params)) for side in self.sides
        ]
        present = [side for side in sides if side is not None]
        if len(present) == 1:
            return present[0]
        if self.function is operator.add and all(side.moving and side.full for side in self.sides):
            return writer.total(*present)
        return writer.call(self.function, tuple(sides))
