"""The weights of filters, seen as one row for each filter."""

from typing import cast

import numpy as np
from torch import Tensor, nn

from qprune_cli.types import FilterGroup, Floats, Layout, Member


def weight_norms(model: nn.Module, layout: Layout) -> Floats:
    """(n,) mean absolute weight of every variable, biases left out; of all its filters where it stands for several."""
    return np.concatenate([_mean_size(_group_rows(model, group)) for group in layout.groups])


def weight_products(model: nn.Module, layout: Layout) -> list[Floats]:
    """Per group (channels, channels) inner products of the weights of its variables."""
    flat = [np.concatenate(_group_rows(model, group), axis=1) for group in layout.groups]
    return [rows @ rows.T for rows in flat]


def tie_breaks(norms: Floats, largest: float) -> Floats:
    """(n,) small terms in proportion to (n,) weight norms, the largest of them ``largest``: they decide between equal scores."""
    return largest * norms / max(float(norms.max()), np.finfo(float).tiny)


def filter_rows(module: nn.Module, values: Tensor) -> Floats:
    """(filters, weights of a filter) of values of the shape of a layer's weight."""
    if isinstance(module, nn.ConvTranspose2d):  # (groups * inputs, filters of a group, ...)
        values = values.unflatten(0, (module.groups, -1)).transpose(1, 2).flatten(0, 1)
    rows: Floats = values.flatten(1).double().cpu().numpy()
    return rows


def _group_rows(model: nn.Module, group: FilterGroup) -> list[Floats]:
    """(channels, weights of a filter) for each member of a group."""
    return [_member_rows(model, member) for member in group.members]


def _member_rows(model: nn.Module, member: Member) -> Floats:
    module = model.get_submodule(member.layer)
    return filter_rows(module, cast(Tensor, module.weight).detach())[list(member.filters)]


def _mean_size(members: list[Floats]) -> Floats:
    """(channels,) mean absolute value over the rows of all members."""
    total = sum(np.abs(rows).sum(axis=1) for rows in members)
    return np.asarray(total / sum(rows.shape[1] for rows in members))
