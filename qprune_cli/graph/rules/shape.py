"""Rules of operations that move channels: cut them, spread them over the image, or turn dimensions."""

import operator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx

from qprune_cli.graph.modules import Onto, Scatter, Select
from qprune_cli.graph.rules.move import Gather, Lay, Pick, Place, Spread, Stretch
from qprune_cli.graph.rules.op import Found, Op
from qprune_cli.graph.rules.rule import Same, Whole
from qprune_cli.graph.rules.writer import Writer

FULL = slice(None)


def _nothing(writer: Writer, node: fx.Node, operand: fx.Node) -> fx.Node:
    return operand


def shuffle(op: Op) -> Found:
    """PixelShuffle."""
    op.need_axis(1)
    channels = int(op.result.shape[1])
    return Gather(channels, op.shape[1] // channels), 1


def unshuffle(op: Op) -> Found:
    """PixelUnshuffle."""
    op.need_axis(1)
    return Spread(int(op.result.shape[1]), int(op.result.shape[1]) // op.shape[1]), 1


def chunk(op: Op) -> Found:
    """``chunk`` and ``split`` along the channels: the pieces are picked by the operations that follow."""
    if op.argument(2, "dim", 0) % len(op.shape) != op.axis:
        raise op.refuse("it cuts along another dimension than the channels")
    if any(user.target is not operator.getitem or not isinstance(user.args[1], int) for user in op.node.users):
        raise op.refuse("its pieces go on together; take them one by one, as in a, b = x.chunk(2, dim=1)")
    return Same(op.channels_of(op.sources[0]), build=_nothing), op.axis


def getitem(op: Op) -> Found:
    """A piece of ``chunk``, or an index that leaves all dimensions in place."""
    source, index = op.sources[0], cast(Any, op.node.args[1])
    pieces = op.results[source]
    if not isinstance(pieces, Tensor):
        stops = np.cumsum([0, *(int(piece.shape[op.axis]) for piece in pieces)])
        chosen = int(index) % len(pieces)
        return Pick(np.arange(stops[chosen], stops[chosen + 1]), int(stops[-1])), op.axis
    parts = index if isinstance(index, tuple) else (index,)
    if Ellipsis in parts:
        gap = parts.index(Ellipsis)
        missing = pieces.dim() - sum(part is not None for part in parts) + 1
        parts = (*parts[:gap], *[FULL] * missing, *parts[gap + 1 :])
    if not all(isinstance(part, slice) or part is None for part in parts) or None in parts[: op.axis + 1]:
        raise op.refuse("it takes single entries out; only slices have a rule")
    own: Any = parts[op.axis] if len(parts) > op.axis else FULL
    if own == FULL:
        return Same(op.channels_of(source)), op.axis
    if op.axis != 1 or parts[0] != FULL or any(isinstance(bound, fx.Node) for bound in (own.start, own.stop, own.step)):
        raise op.refuse("only x[:, a:b] with numbers has a rule for channels")
    return Pick(np.arange(op.shape[1])[own], op.shape[1], tuple(parts[2:])), 1


def narrow(op: Op) -> Found:
    """``torch.narrow`` along the channels."""
    dim, start, length = (op.argument(place, name, 0) for place, name in ((1, "dim"), (2, "start"), (3, "length")))
    if op.axis != 1 or dim != 1 or start < 0:
        raise op.refuse("only along the channels has it a rule")
    return Pick(np.arange(start, start + length), op.shape[1]), 1


def select(op: Op) -> Found:
    """Some channels, as a smaller network takes them."""
    assert isinstance(op.module, Select)
    if op.module.axis != op.axis:
        raise op.refuse("only along the channels has it a rule")
    return Pick(op.module.index.cpu().numpy(), op.shape[op.axis]), op.axis


def scatter(op: Op) -> Found:
    """Channels at their places among others, as a smaller network puts them."""
    assert isinstance(op.module, Scatter)
    return Place(op.module.index.cpu().numpy(), op.module.channels, op.shape[op.axis], op.axis), op.axis


def onto(op: Op) -> Found:
    """Channels added at their places onto a value, as a smaller network adds them."""
    assert isinstance(op.module, Onto)
    return Lay(np.array(op.module.places), op.channels, op.module.axis), op.axis


def expand(op: Op) -> Found:
    """A map of one position, spread over the image of another value, or over a size."""
    shape, result = op.shape, tuple(op.result.shape)
    if op.axis != 1 or len(shape) != len(result) or shape[:2] != result[:2]:
        raise op.refuse("only over the positions of an image has it a rule")
    if op.node.target == "expand_as":
        if len(op.sources) != 2:
            raise op.refuse("only after another value has it a rule")
        return Stretch(shape[1], op.sources[1]), 1
    sizes = op.node.args[1] if isinstance(op.node.args[1], tuple | list) else op.node.args[1:]
    return Same(shape[1], build=lambda writer, node, operand: writer.method("expand", operand, -1, -1, *map(writer.number, sizes[2:]))), 1


def flatten(op: Op) -> Found:
    """(N, C, ...) -> (N, C * ...): a channel becomes as many neighbouring features as it has positions."""
    shape, result = op.shape, tuple(op.result.shape)
    if op.axis != 1 or len(result) != 2 or result != (shape[0], int(np.prod(shape[1:]))):
        raise op.refuse("only flattening behind the batch, as in torch.flatten(x, 1), has a rule")
    return Spread(result[1], result[1] // shape[1], lambda writer, node, operand: writer.call(torch.flatten, (operand, 1))), 1


def reshape(op: Op) -> Found:
    """``view``, ``reshape``, ``squeeze`` and ``unsqueeze`` that flatten, or add and drop dimensions of size 1 behind the channels."""
    shape, result = op.shape, tuple(op.result.shape)
    if op.axis == 1 and len(result) == 2 and result[0] == shape[0] and int(np.prod(shape[1:])) == result[1]:
        return flatten(op)
    more, fewer = len(result) - len(shape), len(shape) - len(result)
    if op.axis == 1 and more > 0 and result == (*shape, *[1] * more):
        return Same(shape[1], build=lambda writer, node, operand: writer.index(operand, Ellipsis, *[None] * more)), 1
    if op.axis == 1 and len(result) > 1 and fewer > 0 and shape == (*result, *[1] * fewer):
        return Same(shape[1], build=lambda writer, node, operand: writer.index(operand, Ellipsis, *[0] * fewer)), 1
    raise op.refuse(f"no rule says where the channels go when {list(shape)} becomes {list(result)}")


def permute(op: Op) -> Found:
    """Another order of the dimensions."""
    count = len(op.shape)
    if op.node.target in ("transpose", torch.transpose):
        first, second = (op.argument(place, name, 0) % count for place, name in ((1, "dim0"), (2, "dim1")))
        order = list(range(count))
        order[first], order[second] = second, first
    else:
        given: Any = op.node.args[1] if len(op.node.args) == 2 else op.node.args[1:] or op.node.kwargs.get("dims")
        order = [int(dim) % count for dim in given]
    return Same(op.channels_of(op.sources[0])), order.index(op.axis)


def reduce(op: Op) -> Found:
    """Mean, sum, largest or smallest over the positions of an image."""
    count, dims = len(op.shape), op.argument(1, "dim", None)
    given: list[Any] = [] if dims is None else [dims] if isinstance(dims, int) else list(dims)
    over = {int(dim) % count for dim in given}
    if over == {op.axis} and op.argument(2, "keepdim", False):
        return Whole(1), op.axis  # of all channels together, as spatial attention takes it
    if not over or op.axis in over or 0 in over:
        raise op.refuse("only over the positions of an image, as in x.mean(dim=(2, 3)), has it a rule")
    gone = 0 if op.argument(2, "keepdim", False) else sum(dim < op.axis for dim in over)
    return Same(op.channels_of(op.sources[0])), op.axis - gone
