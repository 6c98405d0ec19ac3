"""Footprint: parameters and multiply-accumulates of the network that a mask leaves."""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from qprune_cli.structure.graph import Channels
from qprune_cli.types import Bools, Footprint, Layout


class Cost:
    """Counts what stays of a network when filters go.

    A kept filter holds one kernel per living input channel and its bias. Multiply-accumulates are those of the
    convolutions for one image of the stated shape: ``torch.utils.flop_counter`` counts twice as many FLOPs.

    Args:
        model: the network.
        layout: its filters.
        shape: (C, H, W) of the image that multiply-accumulates are counted for.

    Raises:
        StructureError: an operation has no rule.

    Example:
        >>> from qprune_cli.structure.trace import trace
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1))
        >>> Cost(model, trace(model), (1, 4, 4)).footprint(np.array([True, False]))
        Footprint(params=4, macs=32, filters=1)
    """

    def __init__(self, model: nn.Module, layout: Layout, shape: tuple[int, int, int]) -> None:
        self.layout = layout
        self.shape = shape
        self.channels = Channels(model)
        self.positions = _positions(model, shape)
        convolutions = {str(node.target) for node in self.channels.convolutions}
        inside = sum(p.numel() for name in convolutions for p in model.get_submodule(name).parameters())
        self.elsewhere = sum(p.numel() for p in model.parameters()) - inside
        self.channels.alive({}, shape[0])

    def footprint(self, keep: Bools) -> Footprint:
        """Count parameters, multiply-accumulates and filters of an (n,) mask."""
        kept = self.layout.split(keep)
        inputs = self.channels.alive(kept, self.shape[0])
        params, macs = self.elsewhere, 0
        for node in self.channels.convolutions:
            name, conv = str(node.target), self.channels.conv(node)
            assert conv is not None
            outgoing = kept.get(name, np.ones(conv.out_channels, bool)).reshape(conv.groups, -1).sum(axis=1)
            incoming = inputs[name].reshape(conv.groups, -1).sum(axis=1)
            kernels = int((outgoing * incoming).sum()) * int(np.prod(conv.kernel_size))
            params += kernels + (int(outgoing.sum()) if conv.bias is not None else 0)
            macs += kernels * self.positions[name]
        return Footprint(params, macs, int(keep.sum()))


def counted(model: nn.Module, shape: tuple[int, int, int]) -> Footprint:
    """Footprint of any network as it is, whether its operations have rules or not; filters are not counted.

    Args:
        model: the network.
        shape: (C, H, W) of the image that multiply-accumulates are counted for.
    """
    ghost = copy.deepcopy(model).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ghost(torch.empty(1, *shape, device="meta"))
    return Footprint(sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2, None)


def _positions(model: nn.Module, shape: tuple[int, int, int]) -> dict[str, int]:
    """Output positions of every convolution, from a forward pass on shapes alone."""
    ghost = copy.deepcopy(model).to("meta")
    found: dict[str, int] = {}

    def note(name: str):  # type: ignore[no-untyped-def]
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found[name] = output.shape[-2] * output.shape[-1]

        return hook

    for name, module in ghost.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note(name))
    with torch.no_grad():
        ghost(torch.empty(1, *shape, device="meta"))
    return found
