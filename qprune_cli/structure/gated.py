"""A network as a list of operations that work on copies, and the places in it where masks act."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor, fx, nn

from qprune_cli.structure.graph import Graph
from qprune_cli.structure.masks import at_gates
from qprune_cli.structure.network import Network
from qprune_cli.structure.shrink import written
from qprune_cli.types import Bools, Ints, Layout


@dataclass(frozen=True)
class Gated:
    """Operations, none of which changes its input, and the gates among them.

    Attributes:
        model: owner of the modules and parameters.
        graph: the operations.
        layout: the filters.
        gates: operation on whose result a mask acts -> name of the gate, and the channels of its mask that the result has.
        constants: tensors that stood in the code, by name.
        boxes: operations that have to be given copies, as they change their input inside.
    """

    model: nn.Module
    graph: fx.Graph
    layout: Layout
    gates: Mapping[fx.Node, tuple[str, Ints]]
    constants: Mapping[str, Tensor]
    boxes: frozenset[fx.Node] = frozenset()

    def masks(self, keep: Bools) -> dict[fx.Node, Bools]:
        """An (n,) mask as one mask per gate, of the channels that it has."""
        found = at_gates(self.layout, keep)
        return {node: found[name][held] if name in found else np.ones(len(held), bool) for node, (name, held) in self.gates.items()}


def whole(model: nn.Module, layout: Layout) -> Gated:
    """All of a network.

    Args:
        model: the network; it is left as it is.
        layout: its filters.
    """
    graph = Graph(model, layout.shape, layout.wrap)
    widths = {member.gate: member.width for group in layout.groups for member in group.members}
    gates = {node: (str(node.target), np.arange(widths[str(node.target)])) for node in graph.nodes if _is_gate(node, widths)}
    return Gated(model, graph.graph, layout, gates, graph.constants, graph.changes.boxes)


def part(network: Network, layout: Layout, keep: Bools) -> Gated:
    """What an (n,) mask leaves of a network, in which any mask that keeps no more can act.

    Shrinking looks at the operations and never at weights or activations, so the smaller network equals the silenced one whatever
    its gates do to the channels that are left; they may be silenced further.

    Args:
        network: the network with the rules of its operations; it is left as it is.
        layout: its filters.
        keep: (n,) mask.
    """
    left = network.left(at_gates(layout, keep))
    model, places = written(network, left)
    widths = {member.gate: member.width for group in layout.groups for member in group.members}
    gates = {places[node]: (str(node.target), np.flatnonzero(one.cut.held)) for node, one in left.items() if _is_gate(node, widths)}
    return Gated(model, model.graph, layout, gates, {})


def _is_gate(node: fx.Node, widths: Mapping[str, int]) -> bool:
    return node.op == "call_module" and str(node.target) in widths
