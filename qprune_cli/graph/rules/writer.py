"""Writing the graph of a smaller network: copies of operations, and the selections and scatters between them."""

import copy
import operator
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from qprune_cli.graph.graph import Graph
from qprune_cli.graph.modules import Scatter, Select
from qprune_cli.types import Bools

FULL = "full"  # marks a sum whose operands both have its shape


class Writer:
    """Builds a graph node by node, and collects the modules and parameters that it needs, by name.

    Args:
        graph: of the network that is made smaller.
        numbers: what a node that measures channels gives: the number that the dense network has.
    """

    def __init__(self, graph: Graph, numbers: dict[fx.Node, int]) -> None:
        self.source = graph
        self.numbers = numbers
        self.copies: dict[int, Any] = {}  # what was copied already: tied parameters stay tied
        self.graph = fx.Graph()
        self.parts: dict[str, Any] = {}
        self.written: dict[fx.Node, Any] = {}  # old node -> new node, for values that are no operands of a rule
        self.device = next((p.device for p in graph.model.parameters()), torch.device("cpu"))

    def copy(self, node: fx.Node, operands: Sequence[fx.Node | None], out_channels: Bools | None) -> fx.Node:
        """Copy an operation; a module gets the channels ``out_channels`` of its own parameters, None keeps all."""
        if node in self.source.changes.boxes:
            operands = [operand and self.method("clone", operand) for operand in operands]
        if node.op == "call_module" and (out_channels is None or out_channels.all()):
            self.parts[str(node.target)] = self._whole(node)
        elif node.op == "call_module" and out_channels is not None:
            assert str(node.target) not in self.parts, f"{node.target} is used twice and cut"
            self.parts[str(node.target)] = _sliced(self.source.modules[str(node.target)], out_channels)
        return self._copied(node, operands)

    def module(self, node: fx.Node, module: nn.Module, operands: Sequence[fx.Node | None]) -> fx.Node:
        """Call another module in place of the one that a node calls, under its name."""
        self.parts[str(node.target)] = module
        return self._copied(node, operands)

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> fx.Node:
        """Call a function."""
        return self.graph.call_function(function, arguments)

    def total(self, first: fx.Node, second: fx.Node) -> fx.Node:
        """Add two values of the shape of the result."""
        added = self.graph.call_function(operator.add, (first, second))
        added.meta[FULL] = True
        return added

    def method(self, name: str, *arguments: Any) -> fx.Node:
        """Call a method of the first argument."""
        return self.graph.call_method(name, arguments)

    def index(self, value: fx.Node, *index: Any) -> fx.Node:
        """``value[index]``."""
        return self.graph.call_function(operator.getitem, (value, index))

    def number(self, value: Any) -> Any:
        """A number, or the size that it stands for."""
        return self.plain(value) if isinstance(value, fx.Node) else value

    def align(self, value: fx.Node, out_channels: Bools, dead: Bools, wanted: Bools, axis: int) -> fx.Node:
        """Give a value the channels that are wanted of it: those that it holds, and zeros.

        Args:
            value: new node.
            out_channels: channels that it has.
            dead: channels that are 0; what it has there may be anything.
            wanted: channels that it is to have.
            axis: of the channels.
        """
        source = out_channels & wanted & ~dead
        if np.array_equal(source, out_channels) and np.array_equal(source, wanted):
            return value
        places = np.flatnonzero(source[out_channels])
        if not source.any():
            return self._call_new(Scatter([], int(wanted.sum()), axis), value)
        if len(places) < out_channels.sum():
            first, count = int(places[0]), len(places)
            run = bool((np.diff(places) == 1).all())
            value = self.call(torch.narrow, (value, axis, first, count)) if run else self._call_new(Select(places.tolist(), axis), value)
        if source.sum() < wanted.sum():
            value = self._call_new(Scatter(np.flatnonzero(source[wanted]).tolist(), int(wanted.sum()), axis), value)
        return value

    def still(self, value: Any, axis: int | None, out_channels: Bools, params: bool) -> Any:
        """Write a value that does not depend on the image: a number, or a tensor of which the channels ``out_channels`` are kept."""
        if not isinstance(value, fx.Node):
            return value
        if axis is None or out_channels.all():
            return self.plain(value)
        if params:
            parameter = self.source.attribute(str(value.target))
            kept = parameter.detach().index_select(axis, torch.from_numpy(np.flatnonzero(out_channels)).to(parameter.device))
            self.parts[str(value.target)] = nn.Parameter(kept, parameter.requires_grad)
            return self.graph.get_attr(str(value.target))
        return self._call_new(Select(np.flatnonzero(out_channels).tolist(), axis), self.plain(value))

    def plain(self, node: fx.Node) -> Any:
        """Write a size, a number or a parameter as it is, with all that it depends on."""
        if node in self.numbers:
            return self.numbers[node]
        if node not in self.written:
            if node.op == "get_attr":
                self.parts[str(node.target)] = copy.deepcopy(self.source.attribute(str(node.target)), self.copies)
            elif node.op == "call_module":
                self.parts[str(node.target)] = self._whole(node)
            arguments, keywords = fx.map_arg((node.args, node.kwargs), self.plain)
            self.written[node] = self.graph.create_node(node.op, node.target, arguments, dict(keywords))
        return self.written[node]

    def finish(self) -> fx.GraphModule:
        """The smaller network; what is no part of the saved state of the old one is none of its either."""
        small = fx.GraphModule(self.parts, self.graph, type(self.source.model).__name__)
        saved = self.source.model.state_dict().keys()
        for name in [name for name, part in self.parts.items() if isinstance(part, Tensor) and not isinstance(part, nn.Parameter)]:
            owner, _, own = name.rpartition(".")
            small.get_submodule(owner).register_buffer(own, self.parts[name], persistent=name in saved)
        modules = self.source.modules
        for name, module in small.named_modules():
            module.training = modules[name].training if name in modules else self.source.model.training
        return small

    def _whole(self, node: fx.Node) -> nn.Module:
        """A copy of the module that a node calls; torch's own never work in place, black boxes as they were written."""
        module = self.source.modules[str(node.target)]
        copied: nn.Module = copy.deepcopy(module, self.copies)
        return copied if self.source.is_box(node) else _out_of_place(copied)

    def _copied(self, node: fx.Node, operands: Sequence[fx.Node | None]) -> fx.Node:
        remaining = iter(operands)
        moving = node.meta["operands"]

        def mapped(source: fx.Node) -> Any:
            return next(remaining) if source in moving else self.plain(source)

        arguments, keywords = fx.map_arg((node.args, node.kwargs), mapped)
        return self.graph.create_node(node.op, node.target, arguments, dict(keywords), node.name)

    def _call_new(self, module: nn.Module, value: fx.Node) -> fx.Node:
        names = (f"_{type(module).__name__.lower()}_{k}" for k in count(len(self.parts)))
        name = next(name for name in names if name not in self.parts and name not in self.source.modules)
        self.parts[name] = module.to(self.device)
        return self.graph.call_module(name, (value,))


def _out_of_place(module: nn.Module) -> nn.Module:
    """Take the setting ``inplace`` away from a module."""
    if hasattr(module, "inplace"):
        module.inplace = False  # type: ignore[assignment]
    return module


def _sliced(module: nn.Module, out_channels: Bools) -> nn.Module:
    """A copy of a per-channel module with the channels ``out_channels`` of its parameters and statistics."""
    small, kept = _out_of_place(copy.deepcopy(module)), torch.from_numpy(np.flatnonzero(out_channels))
    for name, tensor in [*small.named_parameters(recurse=False), *small.named_buffers(recurse=False)]:
        if tensor.dim() == 1 and len(tensor) == len(out_channels):
            part = tensor.detach()[kept.to(tensor.device)].clone()
            setattr(small, name, nn.Parameter(part, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else part)
    for name in ("num_features", "num_parameters"):
        if getattr(small, name, None) == len(out_channels):
            setattr(small, name, len(kept))
    return small
