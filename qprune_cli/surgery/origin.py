"""Which filters of a network are those of the smaller one, where their order may be another."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.surgery.shrink import shrink
from qprune_cli.types import Bools, Ints, Layout


@torch.no_grad()
def origins(model: nn.Module, layout: Layout, keep: Bools) -> dict[str, Ints]:
    """For each layer of the smaller network the filters of the dense layer that it holds, in its order.

    Every filter is given its number as its weights, and what is left of them after the cut is read.

    Args:
        model: the network that the layout was traced from; it is left as it is.
        layout: its filters.
        keep: (n,) mask.

    Returns:
        (filters,) numbers by name of the layer; layers that the smaller network does not have are left out.

    Example:
        >>> from qprune_cli.graph.trace import trace
        >>> model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 1, 1))
        >>> {name: found.tolist() for name, found in origins(model, trace(model), np.array([True, False, True])).items()}
        {'0': [0, 2]}
    """
    numbered = copy.deepcopy(model)
    masks = layout.masks(keep)
    for name in masks:
        weight, axis = _weight(numbered.get_submodule(name))
        numbers = torch.arange(weight.shape[axis], dtype=weight.dtype, device=weight.device)
        weight.copy_(numbers.view([-1 if other == axis else 1 for other in range(weight.dim())]).expand_as(weight))
    found: dict[str, Ints] = {}
    modules = dict(shrink(numbered, layout, keep).named_modules())
    for name in masks.keys() & modules.keys():
        weight, axis = _weight(modules[name])
        found[name] = weight.movedim(axis, 0).flatten(1)[:, 0].round().long().cpu().numpy()
    return {name: numbers for name, numbers in found.items() if np.isin(numbers, np.flatnonzero(masks[name])).all()}


def _weight(layer: nn.Module) -> tuple[Tensor, int]:
    """Weights of a layer, and the axis of its filters."""
    transposed = bool(getattr(layer, "transposed", False)) and getattr(layer, "groups", 1) == 1
    return layer.get_parameter("weight").data, int(transposed)
