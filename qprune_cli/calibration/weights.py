"""The weights of filters, seen as one row for each filter."""

from typing import cast

import numpy as np
from torch import Tensor, nn

from qprune_cli.types import FilterGroup, Floats, Layout, Member


def weight_norms(model: nn.Module, layout: Layout) -> Floats:
    """(n,) mean absolute weight of every variable, biases left out; of all its filters where it stands for several."""
    return np.concatenate([_mean_size(rows(model, group)) for group in layout.groups])


def weight_products(model: nn.Module, layout: Layout) -> list[Floats]:
    """Per group (channels, channels) inner products of the weights of its variables."""
    flat = [np.concatenate(rows(model, group), axis=1) for group in layout.groups]
    return [one @ one.T for one in flat]


def rows(model: nn.Module, group: FilterGroup) -> list[Floats]:
    """(channels, weights of a filter) for each member of a group."""
    return [_rows(model, member) for member in group.members]


def filter_rows(module: nn.Module, values: Tensor) -> Floats:
    """(filters, weights of a filter) of values of the shape of a layer's weight."""
    if isinstance(module, nn.ConvTranspose2d):  # (groups * inputs, filters of a group, ...)
        values = values.unflatten(0, (module.groups, -1)).transpose(1, 2).flatten(0, 1)
    found: Floats = values.flatten(1).double().cpu().numpy()
    return found


def _rows(model: nn.Module, member: Member) -> Floats:
    module = model.get_submodule(member.layer)
    return filter_rows(module, cast(Tensor, module.weight).detach())[list(member.filters)]


def _mean_size(members: list[Floats]) -> Floats:
    total = sum(np.abs(one).sum(axis=1) for one in members)
    return np.asarray(total / sum(one.shape[1] for one in members))
