"""An order of channels in which a smaller network has less to copy.

Where branches that keep different filters are added, each is scattered into the channels of the sum. The order of those channels is
free: filters can be permuted as long as all who share them, and all who read them, are permuted alike. Here they are put so that
what a branch keeps lies side by side, as far as that goes: then a scatter is one slice instead of many.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.graph.network import Network, Operation
from qprune_cli.graph.rules.join import Join
from qprune_cli.graph.rules.layer import Layer
from qprune_cli.graph.rules.rule import Same
from qprune_cli.types import Bools, Ints


def arranged(network: Network, kept: Mapping[str, Bools]) -> tuple[nn.Module, dict[str, Bools]] | None:
    """Permute the filters of a network so that a mask leaves less to copy.

    Args:
        network: the network; it is left as it is.
        kept: (channels,) mask by name of the module on whose output it acts.

    Returns:
        A network that computes the same, and the masks in its order; None where nothing is gained.
    """
    orders = {}
    for sharing in _sharing(network):
        masks = [kept[operation.name] for operation in sharing if operation.name in kept]
        order = side_by_side(masks) if masks else np.arange(1)
        if (np.diff(order) != 1).any():
            orders.update(dict.fromkeys(sharing, order))
    if not orders:
        return None
    model = copy.deepcopy(network.model)
    for operation, order in orders.items():
        _permute_(model, operation, order, outputs=True)
        for reader in network.users(operation):
            if reader.is_layer:
                _permute_(model, reader, order, outputs=False)
    by_name = {operation.name: order for operation, order in orders.items() if operation.name}
    return model, {name: mask[by_name[name]] if name in by_name else mask for name, mask in kept.items()}


def side_by_side(masks: Sequence[Bools]) -> Ints:
    """Order positions so that each mask covers few runs of neighbours: the two largest masks one each, the others few.

    Each mask in turn, the largest first, cuts every block of positions in two; the halves that it covers are turned to one another.

    Example:
        >>> side_by_side([np.array([True, False, True, False]), np.array([False, True, True, False])]).tolist()
        [0, 2, 1, 3]
    """
    blocks: list[Ints] = [np.arange(len(masks[0]))]
    for mask in sorted(masks, key=lambda one: -int(one.sum())):
        refined: list[Ints] = []
        for block in blocks:
            inside, outside = block[mask[block]], block[~mask[block]]
            inside_first = bool(mask[refined[-1][0]]) if refined else len(blocks) == 1
            refined += [part for part in ((inside, outside) if inside_first else (outside, inside)) if len(part)]
        blocks = refined
    return np.concatenate(blocks)


def _sharing(network: Network) -> Iterator[list[Operation]]:
    """Groups of operations that share one order of channels, which is free; those of several layers alone."""
    group: dict[Operation, int] = {}
    members: dict[int, list[Operation]] = {}
    for operation in network.operations.values():
        joined = {group[source] for source in network.sources(operation)} if isinstance(operation.rule, Same | Join) else set()
        own = min(joined, default=len(group))
        members[own] = [*(one for key in sorted(joined) for one in members.pop(key)), operation]
        group |= dict.fromkeys(members[own], own)
    for operations in members.values():
        if sum(operation.is_layer for operation in operations) > 1 and all(_free(network, operation) for operation in operations):
            yield operations


def _free(network: Network, operation: Operation) -> bool:
    """Whether the channels of an operation, and of its operands where they are the same, may be in any order."""
    module: Any = network.graph.modules.get(operation.name)
    shared = operation.name in network.shared and next(module.parameters(), None) is not None  # others may be called several times
    known = operation.axis == 1 and not shared
    if isinstance(operation.rule, Layer):
        known = known and operation.rule.groups == 1 and not isinstance(module, nn.Linear)
    elif isinstance(operation.rule, Join):
        known = known and all(side.wide if side.moving else side.number is not None for side in operation.rule.sides)
    elif not isinstance(operation.rule, Same) or operation.rule.build is not None:
        return False
    readers = [user for user in network.users(operation) if not isinstance(user.rule, Same | Join)]
    plain = (isinstance(reader.rule, Layer) and reader.rule.groups == 1 and reader.name not in network.shared for reader in readers)
    return known and all(plain)


def _permute_(model: nn.Module, operation: Operation, order: Ints, outputs: bool) -> None:
    """Put the filters of a layer, the entries of a norm or an activation, or what a layer reads, into an order."""
    if not operation.name:
        return
    module: Any = model.get_submodule(operation.name)
    index = torch.from_numpy(order)
    if not isinstance(operation.rule, Layer):
        for tensor in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
            if tensor.dim() == 1 and len(tensor) == len(order):
                _reorder_(tensor, 0, index)
        return
    _reorder_(module.weight, int(operation.rule.transposed == outputs), index)
    if outputs and module.bias is not None:
        _reorder_(module.bias, 0, index)


def _reorder_(tensor: Tensor, axis: int, index: Tensor) -> None:
    tensor.data.copy_(tensor.data.index_select(axis, index.to(tensor.device)))
