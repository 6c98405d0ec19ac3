"""Rules of operations that look at every channel by itself and leave it where it is."""

import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qprune_cli.graph.rules.op import Found, Op
from qprune_cli.graph.rules.rule import Same, Whole

ACTIVATION_MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.LogSigmoid, nn.Tanh,
    nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Softplus, nn.Softsign, nn.Tanhshrink, nn.Hardshrink, nn.Softshrink,
)  # fmt: skip
ELEMENTWISE_MODULES = (*ACTIVATION_MODULES, nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout)
ELEMENTWISE = (
    F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.sigmoid, F.logsigmoid, F.tanh, F.hardtanh,
    F.hardswish, F.hardsigmoid, F.softplus, F.softsign, F.dropout, F.dropout2d, torch.relu, torch.sigmoid, torch.tanh, torch.abs,
    torch.neg, torch.exp, torch.sqrt, torch.square, torch.clamp, torch.clip, torch.pow, operator.neg, operator.pow, abs,
    "relu", "sigmoid", "tanh", "abs", "neg", "exp", "sqrt", "square", "clamp", "clip", "pow", "contiguous", "clone", "detach",
)  # fmt: skip
BATCH_NORMS = (nn.BatchNorm2d, nn.BatchNorm1d, nn.InstanceNorm2d)
POOLS = (
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d,
)  # fmt: skip
# A mask acts behind these, where they follow a layer directly.
GATES = (*ACTIVATION_MODULES, nn.PReLU, *BATCH_NORMS)


def elementwise(op: Op) -> Found:
    """One number at a time."""
    value = op.node.args[0] if op.node.args else None
    if len(op.sources) != 1 or value is not op.sources[0]:
        raise op.refuse("only numbers may stand beside the image")
    others = [source for source in op.node.all_input_nodes if source is not value]
    if any(isinstance(op.results[other], Tensor) and op.results[other].numel() > 1 for other in others):
        raise op.refuse("only numbers may stand beside the image")
    return Same(op.channels, not others and _keeps_zero(op)), op.axis


def _keeps_zero(op: Op) -> bool:
    nothing = torch.zeros(1, 1, 1, 1)
    if op.module is not None:
        return not bool(op.module(nothing).any())
    function: Any = getattr(torch.Tensor, op.node.target) if isinstance(op.node.target, str) else op.node.target
    return not bool(function(nothing, *op.node.args[1:], **op.node.kwargs).any())


def prelu(op: Op) -> Found:
    """Its own slope for every channel, or one for all."""
    op.need_axis(1)
    assert isinstance(op.module, nn.PReLU)
    own = op.module.num_parameters == op.channels > 1
    if own and op.shared:
        return Whole(op.channels), 1
    return Same(op.channels, params=int(own), own=own), 1


def norm(op: Op) -> Found:
    """BatchNorm, InstanceNorm: a scale and a shift for every channel; one that is used several times is kept whole."""
    op.need_axis(1)
    module: Any = op.module
    shifts = module.affine or module.running_mean is not None
    if shifts and op.shared:
        return Whole(op.channels), 1
    return Same(op.channels, not shifts, 2 if module.affine else 0, own=not op.shared), 1


def pool(op: Op) -> Found:
    """Pooling and interpolation."""
    op.need_axis(1)
    if not isinstance(op.result, torch.Tensor):
        raise op.refuse("it gives indices beside the values; leave return_indices out")
    return Same(op.channels), op.axis


def padding(op: Op) -> Found:
    """Padding of the image's sides."""
    op.need_axis(1)
    module: Any = op.module
    pad = module.padding if module is not None else op.argument(1, "pad", ())
    if len(pad) // 2 > len(op.result.shape) - op.axis - 1:
        raise op.refuse("it pads the channels; give the layer that many channels of its own instead")
    value = getattr(module, "value", 0) if module is not None else op.argument(3, "value", 0)
    return Same(op.channels, not value), op.axis
