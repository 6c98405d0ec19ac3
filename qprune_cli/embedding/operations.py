"""What kinds of operations a network may have in a program, and which of them are affine."""

import operator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from qprune_cli.graph.network import Network, Operation
from qprune_cli.graph.rules.layer import LAYERS

RELUS = (nn.ReLU, F.relu, torch.relu, "relu")
MAXIMA = (nn.MaxPool2d, F.max_pool2d, torch.max_pool2d)
POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, F.avg_pool2d, F.adaptive_avg_pool2d)
SHAPES = (nn.Flatten, torch.flatten, "flatten", "view", "reshape", torch.reshape, "contiguous", "clone", "detach")
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout, F.dropout, F.dropout2d)
MOVES = (
    nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d, F.interpolate, F.upsample, nn.PixelShuffle, nn.PixelUnshuffle,
    F.pixel_shuffle, F.pixel_unshuffle, torch.pixel_shuffle, torch.pixel_unshuffle, nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d,
    F.pad, torch.cat, torch.concat, torch.concatenate, operator.getitem, torch.narrow, "narrow", "permute", "transpose", torch.permute,
    torch.transpose, "mean", torch.mean, "sum", torch.sum, operator.neg, torch.neg, "neg", nn.BatchNorm2d, nn.BatchNorm1d,
)  # fmt: skip
SUMS = (operator.add, torch.add, "add", operator.sub, torch.sub, "sub")
PRODUCTS = (operator.mul, torch.mul, "mul", operator.truediv, torch.div, "div")
PURE = (*MAXIMA, *POOLS, *SHAPES, *NOTHING)  # scaling a channel before them scales it behind


def kind_of(network: Network, operation: Operation) -> Any:
    """What the tables above list of an operation: the class of its module, its function, or the name of its method."""
    return type(network.graph.modules[operation.name]) if operation.name else operation.node.target


def is_layer(network: Network, operation: Operation) -> bool:
    """Whether an operation is a convolution or a linear layer, with filters that can go or not."""
    return issubclass(kind_of(network, operation), LAYERS) if operation.name else False


def is_affine(network: Network, operation: Operation) -> bool:
    """Whether an operation is an affine map of its operands."""
    kind = kind_of(network, operation)
    if kind in (nn.BatchNorm2d, nn.BatchNorm1d):
        return network.graph.modules[operation.name].running_mean is not None
    if kind in SUMS:
        return not operation.node.kwargs
    if kind in PRODUCTS:
        return len(operation.sources) == 1  # the other is a number or a parameter; nothing that depends on the image is divided by
    if kind is F.pad:
        return [*operation.node.args, operation.node.kwargs.get("mode", "constant")][2] in ("constant", "reflect", "replicate")
    return is_layer(network, operation) or kind in POOLS + SHAPES + NOTHING + MOVES
