"""A network run operation by operation at a mask, with single operations run again on other operands."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from qprune_cli.errors import UserError
from qprune_cli.graph.execute import Recorder, evaluating
from qprune_cli.graph.masks import at_gates
from qprune_cli.graph.network import Network, Operation
from qprune_cli.graph.rules.layer import LAYERS
from qprune_cli.types import Bools, FilterGroup, Layout

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


class Pieces(Recorder):
    """Runs a network at a mask and remembers every result.

    Args:
        network: its operations.
        layout: its filters.
        keep: (n,) mask; None keeps all. Behind a gate ``results`` hold what passes, ``opened`` what came to it.
    """

    def __init__(self, network: Network, layout: Layout, keep: Bools | None) -> None:
        super().__init__(network.model, network.graph.graph, network.graph.constants)
        self.network = network
        self.masks = {} if keep is None else at_gates(layout, keep)
        self.opened: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation, and its gate."""
        result = super().run_node(n)
        mask = self.masks.get(str(n.target)) if n.op == "call_module" else None
        if mask is not None:
            self.opened[n] = result
            factor = torch.from_numpy(np.asarray(mask)).to(result).reshape(1, -1, *[1] * (result.dim() - 2))
            self.results[n] = result * factor
        return self.results[n]

    def over(self, x: Tensor) -> "Pieces":
        """Run all operations on inputs, without gradients."""
        with evaluating(self.network.model):
            return self.record(x)

    def gate(self, name: str) -> tuple[fx.Node, Tensor]:
        """The operation that a mask acts behind, by its name, and what it gives before the mask."""
        node = next(operation.node for operation in self.network.operations.values() if operation.name == name)
        return node, self.opened.get(node, self.results[node])

    def gates(self, group: FilterGroup) -> list[Tensor]:
        """(N, variables, ...) for each member of a group: what its filters give, before the mask."""
        return [self.gate(member.gate)[1][:, list(member.filters)] for member in group.members]

    @property
    def given(self) -> Tensor:
        """What the network gives."""
        last = next(reversed(self.network.operations.values()))
        found: Tensor = self.results[last.sources[0]]
        return found

    def refuse_damaged(self, layout: Layout) -> None:
        """Refuse a network that gives values that are not finite.

        Raises:
            UserError: it names the first such layer.
        """
        for group in layout.groups:
            if not all(bool(torch.isfinite(value).all()) for value in self.gates(group)):
                raise UserError(f"layer '{group.layer}': not finite on the calibration images; look for damaged images or weights")

    def dead(self, layout: Layout) -> Bools:
        """(n,) True where a variable is 0 on all samples."""
        sizes = [[value.abs().transpose(0, 1).flatten(1).amax(dim=1) for value in self.gates(group)] for group in layout.groups]
        return np.concatenate([(torch.stack(own).amax(dim=0) == 0).cpu().numpy() for own in sizes])

    @torch.no_grad()
    def again(self, node: fx.Node, given: Mapping[fx.Node, Any]) -> Any:
        """Run one operation on other operands; those that are not given stay as they were."""
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda source: _own(given.get(source, self.results[source])))
        with evaluating(self.network.model):
            return getattr(self, node.op)(node.target, args, kwargs)


def _own(value: Any) -> Any:
    """A copy, in case the operation works in place."""
    return value.clone() if isinstance(value, Tensor) else value


def acts(network: Network, operation: Operation) -> Any:
    """What an operation is known by in the tables above: the class of its module, or its function."""
    return type(network.graph.modules[operation.name]) if operation.name else operation.node.target


def is_layer(network: Network, operation: Operation) -> bool:
    """Whether an operation is a convolution or a linear layer, with filters that can go or not."""
    return issubclass(acts(network, operation), LAYERS) if operation.name else False


def is_affine(network: Network, operation: Operation) -> bool:
    """Whether an operation is an affine map of its operands."""
    kind = acts(network, operation)
    if kind in (nn.BatchNorm2d, nn.BatchNorm1d):
        return network.graph.modules[operation.name].running_mean is not None
    if kind in SUMS:
        return not operation.node.kwargs
    if kind in PRODUCTS:
        return len(operation.sources) == 1  # the other is a number or a parameter; nothing that depends on the image is divided by
    if kind is F.pad:
        return [*operation.node.args, operation.node.kwargs.get("mode", "constant")][2] in ("constant", "reflect", "replicate")
    return is_layer(network, operation) or kind in POOLS + SHAPES + NOTHING + MOVES
