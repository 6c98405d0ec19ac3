"""Which channels of a network can be non-zero: one walk over its torch.fx graph, one rule per operation.

An operation without a rule is refused by name; nothing is assumed to be element-wise.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional as F

from qprune_cli.errors import StructureError
from qprune_cli.types import Bools

# Channels go through unchanged.
SAME_MODULES = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.MaxPool2d, nn.AvgPool2d, nn.Upsample, nn.Identity, nn.Dropout, nn.Dropout2d)
SAME_FUNCTIONS = (F.pad, F.interpolate, F.relu, torch.relu, F.max_pool2d, F.avg_pool2d)
# A channel of the sum lives where it lives in one of the branches.
UNION_FUNCTIONS = (operator.add, operator.sub, torch.add, torch.sub)
# Activations and pooling that keep an all-zero channel at zero, so that the mask may act behind them.
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU)


def traced(model: nn.Module) -> fx.Graph:
    """Record what a network computes.

    Raises:
        StructureError: torch.fx cannot follow the network (control flow that depends on data).
    """
    try:
        return fx.Tracer().trace(model)
    except Exception as error:  # fx raises many kinds; all mean that the forward pass cannot be followed
        raise StructureError(f"{type(model).__name__}: torch.fx cannot follow its forward pass ({error})") from error


class Channels:
    """Walks a network and says for each convolution which input channels live.

    Args:
        model: the network.

    Example:
        >>> conv = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
        >>> [str(node.target) for node in Channels(conv).convolutions]
        ['0', '2']
    """

    def __init__(self, model: nn.Module) -> None:
        self.graph = traced(model)
        self.modules: Mapping[str, nn.Module] = dict(model.named_modules())
        self.convolutions = [node for node in self.graph.nodes if self.conv(node) is not None]

    def conv(self, node: fx.Node) -> nn.Conv2d | None:
        """The convolution behind a node, None where it is something else."""
        module = self.modules.get(str(node.target)) if node.op == "call_module" else None
        return module if isinstance(module, nn.Conv2d) else None

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module behind a node, None where the node is no module."""
        return self.modules[str(node.target)] if node.op == "call_module" else None

    def uses(self, name: str) -> int:
        """How often a module is called in one forward pass."""
        return sum(node.op == "call_module" and str(node.target) == name for node in self.graph.nodes)

    def alive(self, kept: Mapping[str, Bools], image_channels: int) -> dict[str, Bools]:
        """Follow the channels from the image to the output.

        Args:
            kept: (channels,) kept filters by name of the convolution; layers that are not named keep all.
            image_channels: channels of the image.

        Returns:
            (channels,) living input channels, by name of the convolution.

        Raises:
            StructureError: an operation has no rule.
        """
        values: dict[fx.Node, Bools | None] = {}
        inputs: dict[str, Bools] = {}
        for node in self.graph.nodes:
            if node.op == "placeholder":
                values[node] = np.ones(image_channels, bool)
                continue
            incoming = [values[source] for source in node.all_input_nodes]
            tensors = [value for value in incoming if value is not None]
            if (conv := self.conv(node)) is not None:
                inputs[str(node.target)] = tensors[0]
                values[node] = kept.get(str(node.target), np.ones(conv.out_channels, bool))
            else:
                values[node] = self._rule(node)(tensors)
        return inputs

    def _rule(self, node: fx.Node) -> Callable[[list[Bools]], Bools | None]:
        module = self.module(node)
        if node.op == "output" or isinstance(module, SAME_MODULES) or node.target in SAME_FUNCTIONS:
            return lambda tensors: tensors[0]
        if _is_size(node):
            return lambda tensors: None
        if node.op == "call_function" and node.target in UNION_FUNCTIONS and all(isinstance(a, fx.Node) for a in node.args):
            return np.logical_or.reduce
        if node.op == "call_function" and node.target is torch.cat and _dimension(node) == 1:
            return np.concatenate
        if node.op == "call_function" and node.target is operator.getitem and _spatial(node):
            return lambda tensors: tensors[0]
        name = type(module).__name__ if module is not None else getattr(node.target, "__name__", node.target)
        raise StructureError(
            f"operation '{name}' at '{node.name}': no rule says how its channels follow its input; add one in structure/graph.py"
        )


def behind(node: fx.Node, stop: Callable[[fx.Node], bool]) -> Iterable[fx.Node]:
    """The nearest nodes that feed a node and meet ``stop``."""
    open_nodes, seen = list(node.all_input_nodes), set()
    while open_nodes:
        source = open_nodes.pop()
        if source in seen:
            continue
        seen.add(source)
        if stop(source):
            yield source
        else:
            open_nodes.extend(source.all_input_nodes)


def _dimension(node: fx.Node) -> Any:
    return node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)


def _spatial(node: fx.Node) -> bool:
    """Whether an indexing leaves batch and channels whole, or picks a number out of a size."""
    index = node.args[1]
    whole = slice(None)
    return not isinstance(index, tuple) or (len(index) >= 2 and index[0] == whole and index[1] == whole)


def _is_size(node: fx.Node) -> bool:
    """Whether a node is about sizes rather than images."""
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] == "shape"
    arithmetic = (operator.neg, operator.add, operator.sub, operator.mul, operator.mod, operator.floordiv, operator.getitem)
    if node.op == "call_function" and node.target in arithmetic:
        return all(_is_size(source) for source in node.all_input_nodes)
    return False
