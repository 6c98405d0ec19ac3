"""One operation of a network with what its rule asks about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from qprune_cli.errors import StructureError
from qprune_cli.graph.graph import Graph
from qprune_cli.graph.rules.rule import Rule

Found = tuple[Rule, int]  # and the axis of the channels in the result


@dataclass(frozen=True)
class Op:
    """A node of a graph.

    Attributes:
        graph: that it belongs to.
        node: itself.
        sources: nodes among its arguments that depend on the image, in order, repeated where they are repeated.
        axes: axis of the channels, of every node so far that depends on the image.
        shared: whether its module, or a parameter of it, is used elsewhere as well.
    """

    graph: Graph
    node: fx.Node
    sources: Sequence[fx.Node]
    axes: Mapping[fx.Node, int]
    shared: bool = False

    @property
    def module(self) -> nn.Module | None:
        """The module that it calls, None where it is a function."""
        return self.graph.modules[str(self.node.target)] if self.node.op == "call_module" else None

    @property
    def results(self) -> Mapping[fx.Node, Any]:
        """What every node gives on the example."""
        return self.graph.results

    @property
    def result(self) -> Tensor:
        """What it gives on the example."""
        result: Tensor = self.graph.results[self.node]
        return result

    @property
    def axis(self) -> int:
        """Of the channels in the result where the operation moves none: as in the source with the most dimensions."""
        first = max(self.sources, key=lambda source: len(self.shape_of(source)))
        return self.axes[first]

    @property
    def channels(self) -> int:
        """Of the result, along ``axis``."""
        return int(self.result.shape[self.axis])

    def channels_at(self, axis: int) -> int:
        """Of the result, along another axis."""
        if not isinstance(self.result, Tensor) or self.result.dim() < 2:
            raise self.refuse("it gives no tensor with channels")
        return int(self.result.shape[axis])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first source."""
        return self.shape_of(self.sources[0])

    def shape_of(self, source: fx.Node) -> tuple[int, ...]:
        """Of a source; of the value that was cut, where it is a tuple of pieces."""
        result = self.results[source]
        return tuple(result.shape) if isinstance(result, Tensor) else self.shape_of(source.all_input_nodes[0])

    def axis_of(self, source: fx.Node) -> int:
        """Of the channels of a source."""
        return self.axes[source]

    def channels_of(self, source: fx.Node) -> int:
        """Of a source."""
        return self.shape_of(source)[self.axes[source]]

    def argument(self, place: int, name: str, default: Any) -> Any:
        """An argument by place or name; sizes as the numbers that they are on the example."""
        given = self.node.kwargs.get(name, self.node.kwargs.get("axis", default) if name == "dim" else default)
        value = self.node.args[place] if len(self.node.args) > place else given
        return fx.node.map_arg(value, lambda node: self.results[node] if node not in self.axes else node)

    def need_axis(self, axis: int) -> None:
        """Refuse channels along another dimension."""
        if self.axes[self.sources[0]] != axis:
            raise self.refuse(f"its channels lie along dimension {self.axes[self.sources[0]]}, not {axis}")

    def refuse(self, why: str) -> StructureError:
        """Make the error that names this operation."""
        return self.graph.refusal(self.node, why)
