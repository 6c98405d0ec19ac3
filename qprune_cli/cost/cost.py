"""Footprint: parameters and multiply-accumulates of the network that a mask leaves."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from qprune_cli.graph.execute import precision, without_memory
from qprune_cli.graph.masks import at_gates
from qprune_cli.graph.network import Network, Operation
from qprune_cli.graph.rules.layer import Layer
from qprune_cli.types import Bools, Footprint, Layout


class Cost:
    """Counts what stays of a network when filters go, without building the smaller one.

    Multiply-accumulates are those of convolutions and linear layers for one input of the stated shape:
    ``torch.utils.flop_counter`` counts twice as many FLOPs.

    Args:
        model: the network.
        layout: its filters.
        shape: (C, H, W) of the image that multiply-accumulates are counted for, or (F,) of features.

    Raises:
        StructureError: an operation has no rule.

    Example:
        >>> import numpy as np
        >>> from qprune_cli.graph.trace import trace
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1))
        >>> Cost(model, trace(model), (1, 4, 4)).footprint(np.array([True, False]))
        Footprint(params=4, macs=32, filters=1)
    """

    def __init__(self, model: nn.Module, layout: Layout, shape: tuple[int, ...]) -> None:
        self.layout = layout
        self.shape = shape
        self.network = Network(model, layout.shape, layout.wrap)
        self.macs = self.network.graph.macs((1, *shape))
        self.parameters = dict(model.named_parameters(remove_duplicate=False))

    def footprint(self, keep: Bools) -> Footprint:
        """Count parameters, multiply-accumulates and filters of the network that an (n,) mask leaves."""
        params, macs = 0, 0
        whole: set[str] = set()
        for node, alive in self.network.liveness(at_gates(self.layout, keep)).items():
            operation = self.network.operations[node]
            weights, products = operation.rule.size(alive.cut.out_channels, alive.cut.in_channels)
            params += weights
            macs += products * self._positions(operation) if operation.is_layer else self.macs[node]
            whole |= operation.whole
        sizes = {id(self.parameters[name]): self.parameters[name].numel() for name in whole}  # one that is tied counts once
        return Footprint(params + sum(sizes.values()), macs, int(self.layout.sizes[keep].sum()))

    def _positions(self, operation: Operation) -> int:
        """How often every weight of a layer is multiplied."""
        assert isinstance(operation.rule, Layer)
        return self.macs[operation.node] // operation.rule.products


def footprint_of(model: nn.Module, shape: tuple[int, ...], filters: int | None = None) -> Footprint:
    """Count parameters and multiply-accumulates of any network as it is, whether its operations have rules or not.

    Args:
        model: the network.
        shape: (C, H, W) of the image that multiply-accumulates are counted for.
        filters: prunable filters that it has, where they are known.
    """
    ghost = without_memory(model).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ghost(torch.empty(1, *shape, dtype=precision(model), device="meta"))
    return Footprint(sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2, filters)
