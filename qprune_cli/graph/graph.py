"""What a network computes: its torch.fx graph, pure, with the result of every operation on an example."""

from collections.abc import Sequence
from typing import Any

from torch import fx, nn

from qprune_cli.errors import StructureError
from qprune_cli.graph.execute import Counter, Recorder, evaluating, executed
from qprune_cli.graph.follow import follow, place, way_out
from qprune_cli.graph.inplace import pure_


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
        calls: how often each module is called.
        changes: what worked in place.

    Raises:
        StructureError: torch.fx cannot follow the network, or it does not take the example.

    Example:
        >>> graph = Graph(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU()), (1, 2, 8, 8))
        >>> [node.name for node in graph.nodes]
        ['input_1', '_0', '_1', 'output']
    """

    def __init__(self, model: nn.Module, shape: Sequence[int], wrap: Sequence[str] = ()) -> None:
        self.model = model
        self.modules = dict(model.named_modules())
        with evaluating(model):
            followed = follow(model, wrap)
            self.graph, self.constants, self.wrapped, self.calls = followed.graph, followed.constants, followed.wrapped, followed.calls
            seen = executed(Recorder, model, self.graph, self.constants, shape)
            self.changes = pure_(self.graph, seen.results, seen.changed, self.is_box, self.refusal)
            _drop_unread(self.graph)
            _positional(self.graph)
            self.results: dict[fx.Node, Any] = executed(Recorder, model, self.graph, self.constants, shape).results
        self.nodes: list[fx.Node] = list(self.graph.nodes)

    def macs(self, shape: Sequence[int]) -> dict[fx.Node, int]:
        """Multiply-accumulates of every operation on an example of another shape, as torch counts them."""
        with evaluating(self.model):
            return executed(Counter, self.model, self.graph, self.constants, shape).macs

    def attribute(self, name: str) -> Any:
        """A parameter, buffer or constant by its qualified name."""
        if name in self.constants:
            return self.constants[name]
        owner, _, own = name.rpartition(".")
        return getattr(self.modules[owner], own)

    def is_box(self, node: fx.Node) -> bool:
        """Whether the user asked to keep an operation whole."""
        return (str(node.target) if node.op == "call_module" else getattr(node.target, "__name__", "")) in self.wrapped

    def refusal(self, node: fx.Node, why: str) -> StructureError:
        """Make the error that names an operation and its place in the user's code."""
        return StructureError(f"operation '{operation_name(node, self.modules)}' at '{node.name}'{place(node)}: {why}; {way_out(node)}")


def operation_name(node: fx.Node, modules: dict[str, nn.Module]) -> str:
    """Name of what a node does: class of its module, or name of its function."""
    if node.op == "call_module":
        return type(modules[str(node.target)]).__name__
    return str(getattr(node.target, "__name__", node.target))


def _positional(graph: fx.Graph) -> None:
    """Put the operands of functions, given by name, at their places."""
    for node in graph.nodes:
        named = [name for name in ("input", "tensors", "other") if name in node.kwargs and node.op == "call_function"]
        if named and len(node.args) == (1 if named == ["other"] else 0):
            node.args = (*node.args, *(node.kwargs[name] for name in named))
            node.kwargs = {name: value for name, value in node.kwargs.items() if name not in named}


def _drop_unread(graph: fx.Graph) -> None:
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)
