"""A network as a list of operations that work on copies, and the places in it where masks act."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, fx, nn

from qprune_cli.graph.graph import Graph
from qprune_cli.graph.masks import at_gates
from qprune_cli.graph.network import Network, Operation
from qprune_cli.graph.rules.rule import Cut
from qprune_cli.surgery.shrink import written
from qprune_cli.types import Bools, Ints, Layout

Weights = tuple[Tensor, Tensor | None]  # and bias


@dataclass(frozen=True)
class GatedNetwork:
    """Operations, none of which changes its input, and the gates among them.

    Attributes:
        model: owner of the modules and parameters.
        graph: the operations.
        layout: the filters.
        gates: operation on whose result a mask acts -> name of the gate, and the channels of its mask that the result has.
        constants: tensors that stood in the code, by name.
        boxes: operations that have to be given copies, as they change their input inside.
        convs: convolutions without groups by name: the operation, the filters and the inputs that it has, and the inputs that are 0.
    """

    model: nn.Module
    graph: fx.Graph
    layout: Layout
    gates: Mapping[fx.Node, tuple[str, Ints]]
    constants: Mapping[str, Tensor]
    boxes: frozenset[fx.Node] = frozenset()
    convs: Mapping[str, tuple[fx.Node, Ints, Ints, Bools]] = field(default_factory=dict)

    @staticmethod
    def of_dense(model: nn.Module, layout: Layout) -> "GatedNetwork":
        """All of a network.

        Args:
            model: the network; it is left as it is.
            layout: its filters.
        """
        graph = Graph(model, layout.shape, layout.wrap)
        widths = {member.gate: member.width for group in layout.groups for member in group.members}
        gates = {node: (str(node.target), np.arange(widths[str(node.target)])) for node in graph.nodes if _is_gate(node, widths)}
        return GatedNetwork(model, graph.graph, layout, gates, graph.constants, graph.changes.boxes)

    @staticmethod
    def of_mask(network: Network, layout: Layout, keep: Bools) -> "GatedNetwork":
        """What an (n,) mask leaves of a network, in which any mask that keeps no more can act.

        Shrinking looks at the operations and never at weights or activations, so the smaller network equals the silenced one whatever
        its gates do to the channels that are left; they may be silenced further.

        Args:
            network: the network with the rules of its operations; it is left as it is.
            layout: its filters.
            keep: (n,) mask.
        """
        liveness = network.liveness(at_gates(layout, keep))
        model, places = written(network, liveness)
        widths = {member.gate: member.width for group in layout.groups for member in group.members}
        gates = {
            places[node]: (str(node.target), np.flatnonzero(alive.cut.out_channels))
            for node, alive in liveness.items()
            if _is_gate(node, widths)
        }
        cuts = ((network.operations[node], alive.cut) for node, alive in liveness.items())
        convs = {
            operation.name: _conv(places[operation.node], cut) for operation, cut in cuts if _is_conv(network.graph.modules, operation)
        }
        return GatedNetwork(model, model.graph, layout, gates, {}, convs=convs)

    def weights(self, others: Mapping[str, Weights]) -> dict[fx.Node, Weights]:
        """Weights and biases of whole convolutions, by name, as those of what is left of them."""
        found = {}
        for name, (weight, bias) in others.items():
            if name in self.convs:
                node, rows, columns, zero = self.convs[name]
                own = weight[torch.from_numpy(rows)][:, torch.from_numpy(columns)]
                own[:, torch.from_numpy(zero)] = 0
                found[node] = own, None if bias is None else bias[torch.from_numpy(rows)]
        return found

    def masks(self, keep: Bools) -> dict[fx.Node, Bools]:
        """An (n,) mask as one mask per gate, of the channels that it has."""
        found = at_gates(self.layout, keep)
        return {node: found[name][held] if name in found else np.ones(len(held), bool) for node, (name, held) in self.gates.items()}


def _conv(node: fx.Node, cut: Cut) -> tuple[fx.Node, Ints, Ints, Bools]:
    (reads,), (zero,) = cut.in_channels, cut.inputs
    assert reads is not None
    return node, np.flatnonzero(cut.out_channels), np.flatnonzero(reads), zero[reads]


def _is_conv(modules: Mapping[str, nn.Module], operation: Operation) -> bool:
    module = modules.get(operation.name)
    return type(module) is nn.Conv2d and module.groups == 1


def _is_gate(node: fx.Node, widths: Mapping[str, int]) -> bool:
    return node.op == "call_module" and str(node.target) in widths
