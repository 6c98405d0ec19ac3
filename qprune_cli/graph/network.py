"""A network whose every operation has a rule; what a mask leaves of it."""

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, fx, nn

from qprune_cli.graph.execute import evaluating
from qprune_cli.graph.graph import Graph
from qprune_cli.graph.rules.join import Join, is_sum
from qprune_cli.graph.rules.layer import Layer
from qprune_cli.graph.rules.move import Stretch
from qprune_cli.graph.rules.op import Op
from qprune_cli.graph.rules.rule import Cut, Rule, Same, Whole
from qprune_cli.graph.rules.table import rule_of
from qprune_cli.types import Bools


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation on values that depend on the image.

    Attributes:
        node: in the graph.
        rule: how channels go through it.
        sources: nodes of its operands, in order.
        axis: of the channels in its result.
        name: qualified name of its module; empty where it is a function.
        whole: parameters that it reads and that never get smaller.
    """

    node: fx.Node
    rule: Rule
    sources: tuple[fx.Node, ...]
    axis: int
    name: str
    whole: frozenset[str] = frozenset()

    @property
    def is_layer(self) -> bool:
        """Whether it owns filters."""
        return isinstance(self.rule, Layer)


@dataclass(frozen=True)
class Liveness:
    """What a mask leaves of one operation.

    Attributes:
        dead: (channels,) where its result is exactly 0.
        cut: its smaller form.
        exact: whether anybody reads what it holds; otherwise only the shape of its result counts.
    """

    dead: Bools
    cut: Cut
    exact: bool


class Network:
    """The operations of a network, each with its rule.

    Args:
        model: the network.
        shape: of an example that it takes, such as (N, C, H, W).
        wrap: black boxes (see ``Graph``).

    Raises:
        StructureError: the network cannot be followed, or an operation has no rule.
    """

    def __init__(self, model: nn.Module, shape: Sequence[int], wrap: Sequence[str] = ()) -> None:
        self.model = model
        self.graph = Graph(model, shape, wrap)
        self.operations: dict[fx.Node, Operation] = {}
        self.constants: dict[fx.Node, int] = {}  # nodes that measure channels -> what the dense network has
        self.measured: set[fx.Node] = set()  # values whose size is asked for
        self.shared = _shared(self.graph)
        with evaluating(model):
            for node in self.graph.nodes:
                self._add(node)

    @property
    def layers(self) -> list[Operation]:
        """The operations that own filters, in network order."""
        return [operation for operation in self.operations.values() if operation.is_layer]

    def sources(self, operation: Operation) -> list[Operation]:
        """The operations that an operation reads."""
        return [self.operations[source] for source in operation.sources]

    def users(self, operation: Operation) -> list[Operation]:
        """The operations that read an operation."""
        return [self.operations[user] for user in operation.node.users if user in self.operations]

    def liveness(self, kept: Mapping[str, Bools]) -> dict[fx.Node, Liveness]:
        """Say what masks leave of each operation; one that nobody reads any more is not listed.

        Args:
            kept: (channels,) mask by name of the module on whose output it acts.
        """
        dead: dict[fx.Node, Bools] = {}
        for node, operation in self.operations.items():
            own = operation.rule.dead([dead[source] for source in operation.sources])
            dead[node] = own | ~kept[operation.name] if operation.name in kept else own
        needed = {node: np.zeros_like(value) for node, value in dead.items()}
        used = {node for node, operation in self.operations.items() if node.op == "output" or node in self.measured}
        found: dict[fx.Node, Liveness] = {}
        for node, operation in reversed(self.operations.items()):
            if node not in used:
                continue
            target = needed[node] & ~dead[node]
            inputs = [dead[source] for source in operation.sources]
            out_channels = operation.rule.holds(needed[node] if self._feeds_sums(operation) else target)
            in_channels = operation.rule.takes(out_channels, inputs)
            found[node] = Liveness(dead[node], Cut(out_channels, in_channels, inputs), bool(target.any()) or node.op == "output")
            for source, mask in zip(operation.sources, in_channels, strict=True):
                if mask is not None:
                    used.add(source)
                    needed[source] |= mask
        return {node: found[node] for node in self.operations if node in found}

    def _feeds_sums(self, operation: Operation) -> bool:
        """Whether it is a sum that only further sums read: it holds their channels, so that its operands are scattered once."""
        readers = self.users(operation)
        return is_sum(operation.rule) and bool(readers) and all(is_sum(reader.rule) for reader in readers)

    def _add(self, node: fx.Node) -> None:
        """Find the rule of a node, where it depends on the image."""
        sources = tuple(_moving(node, self.operations))
        op = Op(self.graph, node, sources, {n: operation.axis for n, operation in self.operations.items()}, str(node.target) in self.shared)
        result = self.graph.results[node]
        rule: Rule
        axis = 1
        if node.op == "placeholder":
            if not isinstance(result, Tensor) or result.dim() < 2:
                raise op.refuse("the network is to take one tensor, (N, C, H, W) or (N, F)")
            rule = Whole(int(result.shape[1]))
        elif not sources:
            return
        elif node.op == "output":
            rule, axis = Whole(1), 0
        elif not _has_channels(result):
            self._measure(node, op)
            return
        else:
            rule, axis = rule_of(op)
            if isinstance(rule, Stretch):
                self.measured.add(rule.like)
        node.meta["operands"] = set(sources)
        name = str(node.target) if node.op == "call_module" else ""
        self.operations[node] = Operation(node, rule, sources, axis, name, frozenset(self._whole(node, rule)))

    def _whole(self, node: fx.Node, rule: Rule) -> Iterator[str]:
        """Parameters that an operation reads and that its rule does not count."""
        if node.op == "call_module" and not isinstance(rule, Layer) and not (isinstance(rule, Same) and rule.params):
            for name, _ in self.graph.modules[str(node.target)].named_parameters():
                yield f"{node.target}.{name}"
        smaller = {side.node for side in rule.sides if side.params} if isinstance(rule, Join) else set()
        waiting = [source for source in node.all_input_nodes if source not in smaller]
        while waiting:
            source = waiting.pop()
            if source.op == "get_attr" and isinstance(self.graph.attribute(str(source.target)), nn.Parameter):
                yield str(source.target)
            elif source not in self.operations:
                waiting += source.all_input_nodes

    def _measure(self, node: fx.Node, op: Op) -> None:
        """A size or another property of a value: only sizes of channels change, so those become the number that they are."""
        source = op.sources[0]
        asks = str(node.args[1]) if node.op == "call_function" and node.target is getattr else str(node.target)
        axis, count = self.operations[source].axis, len(op.shape)
        if asks == "size" and (len(node.args) > 1 or node.kwargs):
            if int(op.argument(1, "dim", 0)) % count == axis:
                self.constants[node] = op.channels_of(source)
        elif asks in ("size", "shape"):
            for user in node.users:
                index = user.args[1] if user.target is operator.getitem else None
                if isinstance(index, int) and index % count == axis:
                    self.constants[user] = op.channels_of(source)
                elif not isinstance(index, int) and not (isinstance(index, slice) and axis not in range(count)[index]):
                    raise op.refuse("it holds the number of channels; take single sizes, as in x.shape[-2]")
        elif asks not in ("dim", "ndim", "device", "dtype", "is_cuda"):
            raise op.refuse("no rule says whether it depends on the number of channels")
        self.measured.add(source)


def _moving(node: fx.Node, operations: Mapping[fx.Node, Operation]) -> Iterator[fx.Node]:
    """The operands of a node that depend on the image, in order and as often as they stand there."""
    found: list[fx.Node] = []
    fx.map_arg((node.args, node.kwargs), found.append)
    return (source for source in found if source in operations)


def _has_channels(result: object) -> bool:
    pieces = result if isinstance(result, tuple | list) else (result,)
    return len(pieces) > 0 and all(isinstance(piece, Tensor) for piece in pieces)


def _shared(graph: Graph) -> set[str]:
    """Modules that are called several times, share a parameter with another, or whose parameters are read by other operations."""
    owners: dict[int, set[str]] = {}
    for name, module in graph.modules.items():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), set()).add(name)
    tied = {name for several in owners.values() if len(several) > 1 for name in several}
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    return {name for name, count in graph.calls.items() if count > 1 or name in tied or name in read}
