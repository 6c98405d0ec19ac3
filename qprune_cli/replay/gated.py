"""A network as a list of operations that work on copies, and the gates in it where masks act."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, fx, nn

from qprune_cli.graph.graph import Graph
from qprune_cli.graph.masks import at_gates
from qprune_cli.graph.network import Network, Operation
from qprune_cli.graph.rules.rule import Cut
from qprune_cli.surgery.shrink import written
from qprune_cli.types import Bools, Ints, Layout

Weights = tuple[Tensor, Tensor | None]  # weight and bias of a convolution


class Gate(NamedTuple):
    """An operation on whose result a mask acts.

    Attributes:
        name: qualified name of the module.
        channels: the channels of its mask that its result has.
    """

    name: str
    channels: Ints


class ConvSlice(NamedTuple):
    """What is left of a convolution.

    Attributes:
        node: the smaller operation.
        filters: the filters that it has.
        inputs: the inputs that it has.
        zero: (len(inputs),) True where such an input is always 0.
    """

    node: fx.Node
    filters: Ints
    inputs: Ints
    zero: Bools

    def of(self, weights: Weights) -> Weights:
        """Weight and bias of the whole convolution -> those of what is left of it."""
        weight, bias = weights
        filters = torch.from_numpy(self.filters)
        smaller = weight[filters][:, torch.from_numpy(self.inputs)]
        smaller[:, torch.from_numpy(self.zero)] = 0
        return smaller, None if bias is None else bias[filters]


@dataclass(frozen=True)
class GatedNetwork:
    """Operations, none of which changes its input, and the gates among them.

    Attributes:
        model: owner of the modules and parameters.
        graph: the operations.
        layout: the filters.
        gates: by the operation on whose result the mask acts.
        constants: tensors that stood in the code, by name.
        boxes: operations that have to be given copies, as they change their input inside.
        convs: convolutions without groups, by name.
    """

    model: nn.Module
    graph: fx.Graph
    layout: Layout
    gates: Mapping[fx.Node, Gate]
    constants: Mapping[str, Tensor]
    boxes: frozenset[fx.Node] = frozenset()
    convs: Mapping[str, ConvSlice] = field(default_factory=dict)

    @staticmethod
    def of_dense(model: nn.Module, layout: Layout) -> "GatedNetwork":
        """All of a network, in which any mask can act.

        Args:
            model: the network; it is left as it is.
            layout: its filters.
        """
        graph, widths = Graph(model, layout.shape, layout.wrap), _widths(layout)
        gates = {node: Gate(str(node.target), np.arange(widths[str(node.target)])) for node in graph.nodes if _is_gate(node, widths)}
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
        liveness, widths = network.liveness(at_gates(layout, keep)), _widths(layout)
        model, nodes = written(network, liveness)
        cuts = {node: alive.cut for node, alive in liveness.items()}
        gates = {
            nodes[node]: Gate(str(node.target), np.flatnonzero(cut.out_channels)) for node, cut in cuts.items() if _is_gate(node, widths)
        }
        return GatedNetwork(model, model.graph, layout, gates, {}, convs=dict(_slices(network, cuts, nodes)))

    def weights(self, convolutions: Mapping[str, Weights]) -> dict[fx.Node, Weights]:
        """Weights and biases of whole convolutions, by name, as those of what is left of them; convolutions that are gone are left out."""
        left = {name: weights for name, weights in convolutions.items() if name in self.convs}
        return {self.convs[name].node: self.convs[name].of(weights) for name, weights in left.items()}

    def masks(self, keep: Bools) -> dict[fx.Node, Bools]:
        """An (n,) mask as one mask for each gate, of the channels that it has."""
        masks = at_gates(self.layout, keep)
        return {
            node: masks[gate.name][gate.channels] if gate.name in masks else np.ones(len(gate.channels), bool)
            for node, gate in self.gates.items()
        }


def _slices(network: Network, cuts: Mapping[fx.Node, Cut], nodes: Mapping[fx.Node, fx.Node]) -> Iterator[tuple[str, ConvSlice]]:
    """Name and rest of every convolution without groups; ``nodes`` are the smaller operations."""
    for node, cut in cuts.items():
        operation = network.operations[node]
        if _is_conv(network.graph.modules, operation):
            (inputs,), (zero,) = cut.in_channels, cut.inputs
            assert inputs is not None
            yield operation.name, ConvSlice(nodes[node], np.flatnonzero(cut.out_channels), np.flatnonzero(inputs), zero[inputs])


def _is_conv(modules: Mapping[str, nn.Module], operation: Operation) -> bool:
    module = modules.get(operation.name)
    return type(module) is nn.Conv2d and module.groups == 1


def _is_gate(node: fx.Node, widths: Mapping[str, int]) -> bool:
    return node.op == "call_module" and str(node.target) in widths


def _widths(layout: Layout) -> dict[str, int]:
    """Number of channels of each gate, by its name."""
    return {member.gate: member.width for group in layout.groups for member in group.members}
