"""Masking: a dropped filter contributes exactly 0 to every consumer."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.types import Bools, Layout


@contextmanager
def silence(model: nn.Module, layout: Layout, keep: Bools | Mapping[str, Bools]) -> Iterator[nn.Module]:
    """Run a network without the dropped filters, inside a ``with`` block; the weights are never changed.

    The mask acts behind the activation, so bias and shifts of a dropped filter are gone as well.

    Args:
        model: the network that the layout was traced from.
        layout: its filters.
        keep: (n,) mask, or one (channels,) mask per layer name; layers that are not named keep all.

    Yields:
        The same network, silenced.

    Example:
        >>> from qprune_cli.structure.trace import trace
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False))
        >>> with silence(model, trace(model), np.zeros(2, bool)):
        ...     float(model(torch.ones(1, 1, 1, 1)).detach())
        0.0
    """
    masks = keep if isinstance(keep, Mapping) else layout.split(keep)
    unknown = masks.keys() - {group.layer for group in layout.groups}
    if unknown:
        raise ValueError(f"keep names layers that are not in the layout: {', '.join(sorted(unknown))}")
    handles = []
    try:
        for group in layout.groups:
            mask = np.asarray(masks.get(group.layer, np.ones(group.channels, bool)))
            if mask.shape != (group.channels,):
                raise ValueError(f"keep for layer '{group.layer}' has shape {mask.shape}; it has {group.channels} filters")
            if not mask.all():
                handles.append(model.get_submodule(group.gate).register_forward_hook(_zero(mask)))
        yield model
    finally:
        for handle in handles:
            handle.remove()


def _zero(mask: Bools):  # type: ignore[no-untyped-def]
    dropped = torch.from_numpy(np.flatnonzero(~mask))

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output.index_fill(1, dropped.to(output.device), 0.0)

    return hook
