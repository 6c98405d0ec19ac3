"""Which rule each operation has. An operation that is not listed here is refused by name; nothing is assumed.

To teach qprune an operation: add its module class or function to the table that fits, or write a function ``Op -> (Rule, axis)``
and list it in ``MODULES`` or ``FUNCTIONS``. The axis is the dimension of the channels in the result.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from qprune_cli.errors import UserError
from qprune_cli.graph.modules import Onto, Scatter, Select
from qprune_cli.graph.rules.join import Join, Operand
from qprune_cli.graph.rules.layer import LAYERS, Layer
from qprune_cli.graph.rules.move import Cat
from qprune_cli.graph.rules.op import Found, Op
from qprune_cli.graph.rules.rule import Whole, check_plain
from qprune_cli.graph.rules.same import BATCH_NORMS, ELEMENTWISE, ELEMENTWISE_MODULES, POOLS, elementwise, norm, padding, pool, prelu
from qprune_cli.graph.rules.shape import (
    chunk,
    expand,
    flatten,
    getitem,
    narrow,
    onto,
    permute,
    reduce,
    reshape,
    scatter,
    select,
    shuffle,
    unshuffle,
)


def rule_of(op: Op) -> Found:
    """The rule of an operation, and the axis of the channels in its result.

    Raises:
        StructureError: it has none, or is used in a way that no rule covers.
    """
    if op.graph.is_box(op.node):
        return Whole(op.channels_at(1)), 1
    if op.module is not None and (why := check_plain(op.module)):
        raise op.refuse(why)
    key = type(op.module) if op.module is not None else op.node.target
    found = (MODULES if op.module is not None else FUNCTIONS).get(key)
    if found is None:
        raise op.refuse("no rule says how its channels follow its input; add one in graph/rules/table.py")
    try:
        return found(op)
    except UserError:
        raise
    except Exception as error:  # a form of the operation that its rule does not expect
        raise op.refuse(f"its rule does not know this form of it ({type(error).__name__}: {error})") from error


def layer(op: Op) -> Found:
    """A layer that owns filters; one that is used several times, or along another dimension, is kept whole."""
    assert op.module is not None
    last = isinstance(op.module, nn.Linear) and len(op.shape) != 2
    if last or op.shared:
        return Whole(op.channels_at(-1 if last else 1)), len(op.result.shape) - 1 if last else 1
    op.need_axis(1)
    rule = Layer.of(op.module)
    if not isinstance(op.module, nn.Linear) and (len(op.shape) != 4 or op.result.shape[1] != rule.channels):
        raise op.refuse(f"it reads {list(op.shape)}; give images as (N, C, H, W)")
    return rule, 1


def whole(op: Op) -> Found:
    """A norm over channels, or over more."""
    return Whole(op.channels), op.axis


def cat(op: Op) -> Found:
    """Concatenation along the channels."""
    dim = op.argument(1, "dim", 0) % len(op.result.shape)
    if dim != op.axis:
        raise op.refuse("it joins along another dimension than the channels")
    if any(op.axis_of(source) != op.axis for source in op.sources):
        raise op.refuse("the channels of its parts lie along different dimensions")
    parts = op.argument(0, "tensors", ())
    if not isinstance(parts, tuple | list) or len(op.sources) != len(parts):
        raise op.refuse("it joins something that is no list of values that depend on the image")
    return Cat(tuple(op.channels_of(source) for source in op.sources), op.axis), op.axis


def arithmetic(function: Callable[..., Any]) -> Callable[[Op], Found]:
    """Two values, or one and a number, a parameter or a buffer."""

    def found(op: Op) -> Found:
        """The rule of this arithmetic."""
        if op.node.kwargs or len(op.node.args) != 2:
            raise op.refuse("only its plain form with two operands has a rule")
        sides = tuple(_operand(op, side) for side in op.node.args)
        if function in (operator.truediv,) and sides[1].moving:
            raise op.refuse("a value that depends on the image is divided by; no rule says what a missing channel means there")
        wide = [op.axis_of(side.node) - len(op.shape_of(side.node)) for side in sides if side.moving and side.wide]
        if len(set(wide)) > 1:
            raise op.refuse("the channels of its operands lie along different dimensions")
        return Join(op.channels, function, (sides[0], sides[1])), op.axis

    return found


def _operand(op: Op, side: Any) -> Operand:
    ndim, shape = len(op.result.shape), tuple(op.result.shape)
    if isinstance(side, int | float):
        return Operand(side, number=float(side), moving=False)
    result = op.results[side]
    if side in op.sources:
        width = op.channels_of(side)
        if width not in (1, op.channels):
            raise op.refuse("the channels of its operands differ in number")
        # A single position may be one that is spread over an image of another size.
        full = tuple(result.shape) == shape and (ndim == 2 or min(shape[2:]) > 1)
        return Operand(side, wide=width == op.channels, full=full)
    if not isinstance(result, torch.Tensor):
        return Operand(side, moving=False)
    axis = op.axis - ndim + result.dim()
    along = axis >= 0 and result.shape[axis] == op.channels > 1
    own = along and side.op == "get_attr" and len(side.users) == 1 and isinstance(op.graph.attribute(str(side.target)), nn.Parameter)
    return Operand(side, axis=axis if along else None, moving=False, params=result.numel() // op.channels if own else 0)


MODULES: dict[Any, Callable[[Op], Found]] = {
    **dict.fromkeys(LAYERS, layer),
    **dict.fromkeys(ELEMENTWISE_MODULES, elementwise),
    **dict.fromkeys(BATCH_NORMS, norm),
    **dict.fromkeys((nn.GroupNorm, nn.LayerNorm), whole),
    nn.PReLU: prelu,
    **dict.fromkeys(POOLS, pool),
    **dict.fromkeys((nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d), padding),
    nn.PixelShuffle: shuffle,
    nn.PixelUnshuffle: unshuffle,
    nn.Flatten: flatten,
    Select: select,
    Scatter: scatter,
    Onto: onto,
}

FUNCTIONS: dict[Any, Callable[[Op], Found]] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys((F.layer_norm, F.group_norm), whole),
    **dict.fromkeys(
        (F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.interpolate, F.upsample, torch.max_pool2d), pool
    ),
    F.pad: padding,
    **dict.fromkeys((F.pixel_shuffle, torch.pixel_shuffle), shuffle),
    **dict.fromkeys((F.pixel_unshuffle, torch.pixel_unshuffle), unshuffle),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), cat),
    **dict.fromkeys((torch.chunk, torch.split, "chunk", "split"), chunk),
    operator.getitem: getitem,
    **dict.fromkeys((torch.narrow, "narrow"), narrow),
    **dict.fromkeys(("expand_as", "expand"), expand),
    **dict.fromkeys((torch.flatten, "flatten"), flatten),
    **dict.fromkeys(("view", "reshape", torch.reshape, "squeeze", "unsqueeze", torch.squeeze, torch.unsqueeze), reshape),
    **dict.fromkeys(("permute", "transpose", torch.permute, torch.transpose), permute),
    **dict.fromkeys(("mean", "sum", "amax", "amin", torch.mean, torch.sum, torch.amax, torch.amin), reduce),
}
for _function, _names in {
    operator.add: (operator.add, torch.add, "add"),
    operator.sub: (operator.sub, torch.sub, torch.subtract, "sub"),
    operator.mul: (operator.mul, torch.mul, torch.multiply, "mul"),
    operator.truediv: (operator.truediv, torch.div, torch.divide, torch.true_divide, "div"),
    torch.maximum: (torch.maximum, "maximum"),
    torch.minimum: (torch.minimum, "minimum"),
}.items():
    FUNCTIONS |= dict.fromkeys(_names, arithmetic(_function))
