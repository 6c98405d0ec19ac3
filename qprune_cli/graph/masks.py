"""Masks as users give them, and as the modules need them on whose output they act."""

from collections.abc import Mapping

import numpy as np
from torch import nn

from qprune_cli.errors import StructureError, UserError
from qprune_cli.types import Bools, Layout


def check_layout(model: nn.Module, layout: Layout) -> None:
    """Refuse a layout of another network.

    Raises:
        StructureError: a layer is not there, or has another number of filters.
    """
    modules = dict(model.named_modules())
    for member in (member for group in layout.groups for member in group.members):
        module = modules.get(member.layer)
        width = getattr(module, "out_channels", getattr(module, "out_features", None))
        if width != member.width or member.gate not in modules:
            found = "no such layer" if width is None else f"{width} filters"
            raise StructureError(f"layer '{member.layer}': {found} in this network, {member.width} in the layout; trace this network")


def per_layer(layout: Layout, keep: Bools | Mapping[str, Bools]) -> dict[str, Bools]:
    """Turn an (n,) mask, or masks by layer name, into one (filters,) mask per layer.

    Args:
        layout: the filters.
        keep: (n,) mask, or one (filters,) mask per layer name; layers that are not named keep all.

    Raises:
        UserError: a layer is unknown, a mask has another length, or a fixed filter would go.
    """
    everything = layout.masks(np.ones(layout.n, bool))
    if not isinstance(keep, Mapping):
        mask = np.asarray(keep)
        if mask.shape != (layout.n,) or mask.dtype != bool:
            raise UserError(f"keep is {mask.dtype} of shape {mask.shape}; give a bool mask of shape ({layout.n},)")
        return layout.masks(mask)
    unknown = keep.keys() - everything.keys()
    if unknown:
        raise UserError(f"keep names layers that are not in the layout: {', '.join(sorted(unknown))}")
    free = {name: ~mask for name, mask in layout.masks(np.zeros(layout.n, bool)).items()}
    for name, given in keep.items():
        mask = np.asarray(given)
        if mask.shape != everything[name].shape or mask.dtype != bool:
            raise UserError(f"keep for layer '{name}' is {mask.dtype} of shape {mask.shape}; it has {len(everything[name])} filters")
        if (~mask & ~free[name]).any():
            raise UserError(f"keep for layer '{name}' drops filters that must stay")
        everything[name] = mask
    return everything


def at_gates(layout: Layout, keep: Bools | Mapping[str, Bools]) -> dict[str, Bools]:
    """The same masks by the name of the module on whose output they act; layers that keep all are left out."""
    gates = {member.layer: member.gate for group in layout.groups for member in group.members}
    return {gates[name]: mask for name, mask in per_layer(layout, keep).items() if not mask.all()}
