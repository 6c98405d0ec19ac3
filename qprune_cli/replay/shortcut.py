"""Following a change of some channels through an operation, where that is cheaper than the whole operation.

A shortcut gives the channels of the result that change, or the whole result, or None where the operation has to be run anew.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from qprune_cli.graph.modules import Scatter
from qprune_cli.graph.rules.join import ARITHMETIC
from qprune_cli.graph.rules.same import ELEMENTWISE, ELEMENTWISE_MODULES, POOLS
from qprune_cli.replay.channels import ChangedChannels, select_channels

POOLING = (F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.interpolate)
FEW = 0.75  # share of the inputs of a convolution up to which their change alone is convolved


class Change(Protocol):
    """A network whose values are remembered, and what has changed of them so far.

    Attributes:
        values: what each operation gave, at the remembered mask.
        unmasked: what each gate gave before the mask.
        changed: what operations give now, for those that give something else: some channels, or the whole value.
    """

    values: dict[fx.Node, Any]
    unmasked: dict[fx.Node, Tensor]
    changed: dict[fx.Node, Any]

    def with_input(self, node: fx.Node, source: fx.Node, value: Tensor) -> Tensor:
        """(N, ...) result of an operation with another value of one operand."""

    def module_of(self, node: fx.Node) -> Any:
        """The module that a node calls; None where it calls none."""


Shortcut = Callable[[Change, fx.Node], ChangedChannels | Tensor | None]


def shortcut(node: fx.Node, module: nn.Module | None) -> Shortcut | None:
    """The shortcut for an operation and the module that it calls; None where there is no shortcut."""
    if module is not None:
        return _of_module(module)
    if node.op in ("call_function", "call_method") and node.target in (*ELEMENTWISE, *POOLING):
        return channelwise
    if node.target in ARITHMETIC and all(isinstance(operand, fx.Node) for operand in node.args):
        return arithmetic
    return concatenated if node.target is torch.cat and (node.args[1:] == (1,) or node.kwargs == {"dim": 1}) else None


def _of_module(module: nn.Module) -> Shortcut | None:
    if type(module) in (*ELEMENTWISE_MODULES, *POOLS):
        return channelwise
    if isinstance(module, Scatter) and module.axis == 1:
        return scattered
    plain = type(module) is nn.Conv2d and module.groups == 1 and module.padding_mode == "zeros"
    return convolved if plain else None


def channelwise(change: Change, node: fx.Node) -> ChangedChannels | None:
    """An operation that treats every channel by itself: the changed channels of its input become those of its result."""
    source = node.all_input_nodes[0]
    changed = change.changed.get(source)
    if not isinstance(changed, ChangedChannels) or any(other in change.changed for other in node.all_input_nodes[1:]):
        return None
    return ChangedChannels(changed.index, change.with_input(node, source, changed.values))


def scattered(change: Change, node: fx.Node) -> ChangedChannels:
    """Channels that are put among zeros: the changed ones, at their new positions."""
    (source,) = node.all_input_nodes
    changed, index = change.changed[source], change.module_of(node).index
    if not len(index):  # zeros of its shape
        return ChangedChannels(index, change.values[node][:, :0])
    if isinstance(changed, ChangedChannels):
        return ChangedChannels(index[changed.index], changed.values)
    return ChangedChannels(index, changed)


def arithmetic(change: Change, node: fx.Node) -> ChangedChannels | None:
    """A sum, difference, product or quotient of two values of one shape: the channels that change in either of them."""
    operands: Any = node.args
    shapes = {change.values[operand].shape for operand in operands}
    parts = [change.changed[operand] for operand in node.all_input_nodes if operand in change.changed]
    if len(shapes) > 1 or not all(isinstance(part, ChangedChannels) for part in parts):
        return None
    index = _union(parts)
    sides = (_now(change, operand, index) for operand in operands)
    return ChangedChannels(index, node.target(*sides))  # type: ignore[operator]


def concatenated(change: Change, node: fx.Node) -> ChangedChannels:
    """Concatenation along the channels: the changed ones of each operand, behind the channels of those before it."""
    parts, start = [], 0
    operands: Any = node.args[0]
    for operand in operands:
        width, changed = change.values[operand].shape[1], change.changed.get(operand)
        if isinstance(changed, ChangedChannels):
            parts.append(ChangedChannels(changed.index + start, changed.values))
        elif changed is not None:
            parts.append(ChangedChannels(torch.arange(start, start + width, device=changed.device), changed))
        start += width
    return ChangedChannels(torch.cat([part.index for part in parts]), torch.cat([part.values for part in parts], dim=1))


def convolved(change: Change, node: fx.Node) -> ChangedChannels | Tensor | None:
    """A convolution: the remembered output, plus what the change of the inputs adds to it; None where most inputs change."""
    (source,) = node.all_input_nodes
    module, before = change.module_of(node), change.values[source]
    inputs = changed_channels(change.changed[source], before)
    if not len(inputs.index):
        return ChangedChannels(inputs.index, change.values[node][:, :0])
    if len(inputs.index) > FEW * module.in_channels:
        return None
    # in place, or one channel alone would lose its memory order
    delta = select_channels(before, inputs.index).neg_().add_(inputs.values)
    weight = module.weight.index_select(1, inputs.index)
    result: Tensor = F.conv2d(delta, weight, None, module.stride, module.padding, module.dilation)
    result += change.unmasked.get(node, change.values[node])
    return result


def changed_channels(value: ChangedChannels | Tensor, before: Tensor) -> ChangedChannels:
    """The channels of a value (N, C, ...) that are not as they were; where nearly all are, one row of the first image shows it."""
    if isinstance(value, ChangedChannels):
        return value
    row = value.shape[2] // 2 if value.dim() > 2 else 0
    differ = _differ(value[:1, :, row], before[:1, :, row]) if value.dim() > 2 else _differ(value, before)
    if differ.sum() <= FEW * len(differ):
        differ = _differ(value, before)
    index = differ.nonzero()[:, 0]
    return ChangedChannels(index, select_channels(value, index) if len(index) < len(differ) else value)


def _differ(value: Tensor, before: Tensor) -> Tensor:
    """(C,) True where two values differ."""
    differ: Tensor = (value - before).abs_().transpose(0, 1).flatten(1).sum(dim=1) != 0
    return differ


def _union(parts: list[ChangedChannels]) -> Tensor:
    """The channels, rising, that any of the parts has."""
    if len({len(part.index) for part in parts}) == 1 and all(torch.equal(part.index, parts[0].index) for part in parts):
        return parts[0].index
    union: Tensor = torch.cat([part.index for part in parts]).unique()
    return union


def _now(change: Change, node: fx.Node, index: Tensor) -> Tensor:
    """(N, len(index), ...) some channels of a value as it is now; all that change must be among them."""
    changed, before = change.changed.get(node), change.values[node]
    assert isinstance(before, Tensor)
    return changed.among(before, index) if isinstance(changed, ChangedChannels) else select_channels(before, index)
