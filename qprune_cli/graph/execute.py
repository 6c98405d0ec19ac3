"""Running the graph of a network to see what each operation gives, changes and costs."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from qprune_cli.errors import StructureError

R = TypeVar("R", bound="Recorder")


class Recorder(fx.Interpreter):
    """Runs a graph and remembers all results.

    Attributes:
        results: what each node gave.
        changed: inputs that a node changed in place, for those that did.
    """

    def __init__(self, model: nn.Module, graph: fx.Graph, constants: Mapping[str, Tensor]) -> None:
        super().__init__(model, garbage_collect_values=False, graph=graph)
        self.extra_traceback = False
        self.constants = constants
        self.results: dict[fx.Node, Any] = {}
        self.changed: dict[fx.Node, list[fx.Node]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation."""
        inputs = [source for source in n.all_input_nodes if isinstance(self.results[source], Tensor)]
        before = [self.results[source]._version for source in inputs]
        self.results[n] = super().run_node(n)
        changed = [source for source, version in zip(inputs, before, strict=True) if self.results[source]._version != version]
        if changed:
            self.changed[n] = changed
        return self.results[n]

    def fetch_attr(self, target: str) -> Any:
        """A parameter, a buffer, or a constant that stood in the code."""
        if target not in self.constants:
            return super().fetch_attr(target)
        return self.constants[target].to(self.example.device)

    def record(self, example: Tensor) -> Self:
        """Run all operations on an example."""
        self.example = example
        with torch.no_grad():
            self.run(example)
        return self


class Counter(Recorder):
    """Runs a graph and remembers how often each operation multiplies.

    Attributes:
        macs: multiply-accumulates of each node, as torch counts them.
    """

    def __init__(self, model: nn.Module, graph: fx.Graph, constants: Mapping[str, Tensor]) -> None:
        super().__init__(model, graph, constants)
        self.macs: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation."""
        with FlopCounterMode(display=False) as counter:
            result = super().run_node(n)
        self.macs[n] = counter.get_total_flops() // 2
        return result


def executed(recorder: type[R], model: nn.Module, graph: fx.Graph, constants: Mapping[str, Tensor], shape: Sequence[int]) -> R:
    """Run a graph on shapes alone, or on zeros where that does not work.

    Raises:
        StructureError: the network does not take the shape.
    """
    dtype = precision(model)
    try:
        try:
            return recorder(without_memory(model), graph, constants).record(torch.empty(*shape, dtype=dtype, device="meta"))
        except Exception:  # a module that insists on memory
            device = next((p.device for p in model.parameters()), torch.device("cpu"))
            return recorder(model, graph, constants).record(torch.zeros(*shape, dtype=dtype, device=device))
    except Exception as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise StructureError(
            f"{type(model).__name__}: does not take an input of shape {list(shape)} ({said}); give an example that it takes"
        ) from error


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode; afterwards every module is as it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def precision(model: nn.Module) -> torch.dtype:
    """The type of numbers that a network computes with."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def without_memory(model: nn.Module) -> nn.Module:
    """A copy whose weights have shapes but no memory."""
    ghosts: dict[int, Any] = {id(buffer): buffer.to("meta") for buffer in model.buffers()}
    ghosts |= {id(weight): nn.Parameter(weight.to("meta"), weight.requires_grad) for weight in model.parameters()}
    return copy.deepcopy(model, ghosts)
