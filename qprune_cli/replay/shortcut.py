"""Following a change of some channels through an operation, where that is cheaper than the whole operation.

A shortcut gives the channels of the result that change, or all of it, or None where it does not help.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from qprune_cli.graph.modules import Scatter
from qprune_cli.graph.rules.join import ARITHMETIC
from qprune_cli.graph.rules.same import ELEMENTWISE, ELEMENTWISE_MODULES, POOLS
from qprune_cli.replay.part import Part, channels

POOLING = (F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.interpolate)
FEW = 0.75  # share of the inputs of a convolution up to which their change alone is convolved


class Change(Protocol):
    """A network whose values are remembered, and what has changed of them so far."""

    values: dict[fx.Node, Any]
    open: dict[fx.Node, Tensor]
    fresh: dict[fx.Node, Any]

    def with_input(self, node: fx.Node, source: fx.Node, value: Tensor) -> Tensor:
        """Run an operation with another value of an operand."""

    def called(self, node: fx.Node) -> Any:
        """The module that a node calls; None where it calls none."""


Shortcut = Callable[[Change, fx.Node], Part | Tensor | None]


def shortcut(node: fx.Node, module: nn.Module | None) -> Shortcut | None:
    """The shortcut for an operation; None where nothing is known of it."""
    if module is not None:
        return _of_module(module)
    if node.op in ("call_function", "call_method") and node.target in (*ELEMENTWISE, *POOLING):
        return each
    if node.target in ARITHMETIC and all(isinstance(side, fx.Node) for side in node.args):
        return arithmetic
    return joined if node.target is torch.cat and (node.args[1:] == (1,) or node.kwargs == {"dim": 1}) else None


def _of_module(module: nn.Module) -> Shortcut | None:
    if type(module) in (*ELEMENTWISE_MODULES, *POOLS):
        return each
    if isinstance(module, Scatter) and module.axis == 1:
        return scattered
    plain = type(module) is nn.Conv2d and module.groups == 1 and module.padding_mode == "zeros"
    return convolved if plain else None


def each(change: Change, node: fx.Node) -> Part | None:
    """Every channel by itself."""
    source = node.all_input_nodes[0]
    new = change.fresh.get(source)
    if not isinstance(new, Part) or any(other in change.fresh for other in node.all_input_nodes[1:]):
        return None
    return Part(new.index, change.with_input(node, source, new.values))


def scattered(change: Change, node: fx.Node) -> Part:
    """Channels that are put among zeros."""
    (source,) = node.all_input_nodes
    new, index = change.fresh[source], change.called(node).index
    if not len(index):  # zeros of its shape
        return Part(index, change.values[node][:, :0])
    return Part(index[new.index], new.values) if isinstance(new, Part) else Part(index, new)


def arithmetic(change: Change, node: fx.Node) -> Part | None:
    """Two values of one shape."""
    operands: Any = node.args
    shapes = {change.values[side].shape for side in operands}
    news = [change.fresh[side] for side in node.all_input_nodes if side in change.fresh]
    if len(shapes) > 1 or not all(isinstance(new, Part) for new in news):
        return None
    index = _union(news)
    sides = (_taken(change, side, index) for side in operands)
    return Part(index, node.target(*sides))  # type: ignore[operator]


def joined(change: Change, node: fx.Node) -> Part:
    """Concatenation along the channels."""
    parts, start = [], 0
    operands: Any = node.args[0]
    for side in operands:
        width, new = change.values[side].shape[1], change.fresh.get(side)
        if isinstance(new, Part):
            parts.append(Part(new.index + start, new.values))
        elif new is not None:
            parts.append(Part(torch.arange(start, start + width, device=new.device), new))
        start += width
    return Part(torch.cat([part.index for part in parts]), torch.cat([part.values for part in parts], dim=1))


def convolved(change: Change, node: fx.Node) -> Part | Tensor | None:
    """A convolution: the remembered output, and what the change of the inputs adds to it."""
    (source,) = node.all_input_nodes
    module, new, before = change.called(node), change.fresh[source], change.values[source]
    part = part_of(new, before)
    if not len(part.index):
        return Part(part.index, change.values[node][:, :0])
    if len(part.index) > FEW * module.in_channels:
        return None
    delta = channels(before, part.index).neg_().add_(part.values)  # in place, or one channel alone would lose its memory order
    weight = module.weight.index_select(1, part.index)
    result: Tensor = F.conv2d(delta, weight, None, module.stride, module.padding, module.dilation)
    result += change.open.get(node, change.values[node])
    return result


def part_of(new: Part | Tensor, before: Tensor) -> Part:
    """The channels of a value that are not as they were; where nearly all are, one row of the first image shows it."""
    if isinstance(new, Part):
        return new
    row = new.shape[2] // 2 if new.dim() > 2 else 0
    seen = _differ(new[:1, :, row], before[:1, :, row]) if new.dim() > 2 else _differ(new, before)
    if seen.sum() <= FEW * len(seen):
        seen = _differ(new, before)
    index = seen.nonzero()[:, 0]
    return Part(index, channels(new, index) if len(index) < len(seen) else new)


def _differ(new: Tensor, before: Tensor) -> Tensor:
    """(C,) where two values differ."""
    found: Tensor = (new - before).abs_().transpose(0, 1).flatten(1).sum(dim=1) != 0
    return found


def _union(parts: list[Part]) -> Tensor:
    if len({len(part.index) for part in parts}) == 1 and all(torch.equal(part.index, parts[0].index) for part in parts):
        return parts[0].index
    found: Tensor = torch.cat([part.index for part in parts]).unique()
    return found


def _taken(change: Change, node: fx.Node, index: Tensor) -> Tensor:
    """Some channels of a value as it is now."""
    new, before = change.fresh.get(node), change.values[node]
    assert isinstance(before, Tensor)
    return new.among(before, index) if isinstance(new, Part) else channels(before, index)
