"""What a network computes: its torch.fx graph, pure, with the result of every operation on an example."""

import copy
import inspect
import operator
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from qprune_cli.errors import StructureError, UserError
from qprune_cli.structure.inplace import pure_

TORCH = str(Path(torch.__file__).parent)
HERE = str(Path(__file__).parent)


class Graph:
    """The operations of a network in the order of its forward pass.

    Args:
        model: the network; it is left as it is.
        shape: of an example that it takes, such as (N, C, H, W).
        wrap: black boxes: qualified names or class names of modules, or functions as ``module:function``.

    Attributes:
        nodes: the operations; none works in place.
        results: what each gives on the example: tensors without memory, or plain values.
        modules: by qualified name.

    Raises:
        StructureError: torch.fx cannot follow the network, or it does not take the example.

    Example:
        >>> graph = Graph(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU()), (1, 2, 8, 8))
        >>> [node.name for node in graph.nodes]
        ['input_1', '_0', '_1', 'output']
    """

    def __init__(self, model: nn.Module, shape: Sequence[int], wrap: Sequence[str] = ()) -> None:
        self.model = model
        self.shape = tuple(shape)
        self.modules = dict(model.named_modules())
        self.wrapped: set[str] = set()
        with _evaluating(model):
            graph = self._traced(wrap)
            pure_(graph, self.modules, lambda: self._run(graph, self.shape), self.refusal)
            _drop_unread(graph)
            self.results = self._run(graph, self.shape)
        self.nodes: list[fx.Node] = list(graph.nodes)
        self.graph = graph

    def macs(self, shape: Sequence[int]) -> dict[fx.Node, int]:
        """Multiply-accumulates of every operation on an example of another shape, as torch counts them."""
        with _evaluating(self.model):
            return self._run(self.graph, shape, _Counter)

    def refusal(self, node: fx.Node, why: str) -> StructureError:
        """Make the error that names an operation and its place in the user's code."""
        return StructureError(
            f"operation '{operation(node, self.modules)}' at '{node.name}'{place(node)}: {why}; or name the module around it in "
            "model.wrap=[...] to keep that one whole"
        )

    def _traced(self, wrap: Sequence[str]) -> fx.Graph:
        tracer = _Tracer([name for name in wrap if ":" not in name], [_function(name) for name in wrap if ":" in name])
        try:
            graph = tracer.trace(self.model, _defaults(self.model))
        except Exception as error:  # fx raises many kinds; all mean that the forward pass cannot be followed
            said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise StructureError(
                f"{type(self.model).__name__}: torch.fx cannot follow its forward pass{_line_of(error)} ({said}); name the module or "
                "module:function around that line in model.wrap=[...] to keep it whole"
            ) from error
        unknown = [name for name in wrap if ":" not in name and name not in tracer.found]
        if unknown:
            raise UserError(f"model.wrap: no module or class of this network is called {', '.join(unknown)}; see print(model) for names")
        self.wrapped = tracer.wrapped | {str(f.__name__) for f in tracer.functions}
        _drop_defaults(graph)
        more = [str(node.target) for node in graph.nodes if node.op == "placeholder"][1:]
        if more:
            raise StructureError(
                f"{type(self.model).__name__}: takes more than one input ({', '.join(more)}); give the others a default value, or wrap the "
                "network in one that takes the image alone"
            )
        return graph

    def _run(self, graph: fx.Graph, shape: Sequence[int], recorder: "type[_Recorder] | None" = None) -> dict[fx.Node, Any]:
        """Run a graph on the shapes alone, or on zeros where that does not work."""
        recorder = recorder or _Recorder
        try:
            try:
                ghost = without_memory(self.model)
                return recorder(ghost, graph).record(torch.empty(*shape, dtype=precision(self.model), device="meta"))
            except Exception:  # a module that insists on memory
                device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
                return recorder(self.model, graph).record(torch.zeros(*shape, dtype=precision(self.model), device=device))
        except Exception as error:
            said = str(error).strip().splitlines()[0]
            raise StructureError(f"{type(self.model).__name__}: does not take an input of shape {list(shape)} ({said})") from error


def operation(node: fx.Node, modules: dict[str, nn.Module]) -> str:
    """Name of what a node does: class of its module, or name of its function."""
    if node.op == "call_module":
        return type(modules[str(node.target)]).__name__
    return str(getattr(node.target, "__name__", node.target))


def place(node: fx.Node) -> str:
    """Where in the user's code a node comes from, as ``, net.py:12 `x = f(x)` ``; empty where nobody knows."""
    frames = [line for line in (node.stack_trace or "").split("  File ") if line and TORCH not in line]
    if not frames:
        return ""
    head, _, code = frames[-1].strip().partition("\n")
    path, line = head.split(", ")[:2]
    name = Path(path.strip('"')).name
    return f", {name}:{line.removeprefix('line ')} `{code.strip().splitlines()[0].strip()}`" if code.strip() else f", {name}:{line}"


def _line_of(error: Exception) -> str:
    """The last line of the user's code in a traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith((TORCH, HERE, "<"))]
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno} `{frames[-1].line}`" if frames else ""


class _Proxy(fx.Proxy):
    """Records ``x += y`` as what it is; fx alone would take it for ``x + y``."""

    def __iadd__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    def __isub__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.isub, (self, other), {})

    def __imul__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.imul, (self, other), {})

    def __itruediv__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.itruediv, (self, other), {})


class _Tracer(fx.Tracer):
    """Follows a network into its own modules, but not into torch's or into black boxes."""

    record_stack_traces = True

    def __init__(self, wrap: list[str], functions: list[Callable[..., Any]]) -> None:
        super().__init__(autowrap_functions=tuple(functions))
        self.names, self.functions = set(wrap), functions
        self.found: set[str] = set()
        self.wrapped: set[str] = set()

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """What stands for the result of an operation meanwhile."""
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one operation."""
        matches = self.names & {module_qualified_name, type(m).__name__}
        self.found |= matches
        if matches:
            self.wrapped.add(module_qualified_name)
        return bool(matches) or super().is_leaf_module(m, module_qualified_name)


class _Recorder(fx.Interpreter):
    """Runs a graph and remembers all results."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, garbage_collect_values=False, graph=graph)
        self.extra_traceback = False
        self.results: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation."""
        self.results[n] = super().run_node(n)
        return self.results[n]

    def record(self, example: Tensor) -> dict[fx.Node, Any]:
        """Run all operations on an example."""
        with torch.no_grad():
            self.run(example)
        return self.results


class _Counter(_Recorder):
    """Runs a graph and remembers how often each operation multiplies."""

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation."""
        with FlopCounterMode(display=False) as counter:
            result = super().run_node(n)
        self.results[n] = counter.get_total_flops() // 2
        return result


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
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


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    try:
        found: Callable[..., Any] = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UserError(f"model.wrap: '{name}' cannot be imported ({error}); write package.module:function") from error
    return found


def _defaults(model: nn.Module) -> dict[str, Any]:
    """The default values of all arguments of the forward pass but the first."""
    arguments = list(inspect.signature(model.forward).parameters.values())[1:]
    return {a.name: a.default for a in arguments if a.default is not a.empty}


def _drop_unread(graph: fx.Graph) -> None:
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)


def _is_check(node: fx.Node) -> bool:
    """Whether fx put a node there to see that an argument has its default value."""
    return not node.users or all(user.target is torch._assert for user in node.users)


def _drop_defaults(graph: fx.Graph) -> None:
    """Take out arguments that have their default value, and fx's checks of them."""
    for node in [node for node in graph.nodes if node.op == "placeholder"][1:]:
        if not all(_is_check(user) for user in node.users):
            continue
        for user in list(node.users):
            for check in [*user.users]:
                graph.erase_node(check)
            graph.erase_node(user)
        graph.erase_node(node)
