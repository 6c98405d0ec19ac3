"""Masking: a dropped filter contributes exactly 0 to every consumer."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.graph.masks import at_gates, check_layout
from qprune_cli.types import Bools, Layout


@contextmanager
def silence(model: nn.Module, layout: Layout, keep: Bools | Mapping[str, Bools]) -> Iterator[nn.Module]:
    """Run a network without the dropped filters, inside a ``with`` block; the weights are never changed.

    The mask acts behind the norm and the activation that follow a layer, so bias and shifts of a dropped filter are gone as well.

    Args:
        model: the network that the layout was traced from.
        layout: its filters.
        keep: (n,) mask, or one (filters,) mask per layer name; layers that are not named keep all.

    Yields:
        The same network, silenced.

    Raises:
        UserError: ``keep`` does not fit the layout.
        StructureError: the layout is of another network.

    Example:
        >>> from qprune_cli.graph.trace import trace
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False))
        >>> with silence(model, trace(model), np.zeros(2, bool)):
        ...     float(model(torch.ones(1, 1, 1, 1)).detach())
        0.0
    """
    check_layout(model, layout)
    masks = at_gates(layout, keep)
    handles = [model.get_submodule(gate).register_forward_hook(_zero(mask)) for gate, mask in masks.items()]
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()


def _zero(mask: Bools):  # type: ignore[no-untyped-def]
    dropped = torch.from_numpy(np.flatnonzero(~mask))

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output.index_fill(1, dropped.to(output.device), 0.0)

    return hook
