"""Filters that meet live or die together: ``granularity=group``."""

from collections.abc import Iterator, Mapping

import numpy as np

from qprune_cli.graph.neighbours import consumers
from qprune_cli.graph.network import Network, Operation
from qprune_cli.graph.rules.join import Join
from qprune_cli.graph.rules.layer import Layer
from qprune_cli.graph.rules.move import Cat, Gather, Pick, Place, Spread
from qprune_cli.graph.rules.rule import Whole
from qprune_cli.types import FilterGroup, Fixed, Ints, Member


class Channels:
    """All channels of all values of a network, and which of them are one (a disjoint-set forest)."""

    def __init__(self, network: Network) -> None:
        self.starts, total = {}, 0
        for node, operation in network.operations.items():
            self.starts[node] = total
            total += operation.rule.channels
        self.parent = np.arange(total)

    def of(self, operation: Operation) -> Ints:
        """(channels,) numbers of the channels of a value."""
        start = self.starts[operation.node]
        return np.arange(start, start + operation.rule.channels)

    def find(self, channel: int) -> int:
        """The number that stands for all channels that are one with this one."""
        while self.parent[channel] != channel:
            self.parent[channel] = self.parent[self.parent[channel]]
            channel = int(self.parent[channel])
        return channel

    def join(self, first: Ints, second: Ints) -> None:
        """Make channels one, pair by pair."""
        for one, other in zip(first.ravel().tolist(), second.ravel().tolist(), strict=True):
            roots = sorted((self.find(one), self.find(other)))
            self.parent[roots[1]] = roots[0]


def coupled_groups(
    network: Network, gates: Mapping[Operation, Operation], fixed: Mapping[Operation, str]
) -> tuple[tuple[FilterGroup, ...], list[Fixed]]:
    """Group the filters of a network so that branches that meet always hold the same channels.

    Args:
        network: the network.
        gates: where the mask of each layer acts.
        fixed: layers whose filters must stay, and why.

    Returns:
        The groups, and per layer the filters that stay.
    """
    channels = Channels(network)
    for operation in network.operations.values():
        for first, second in _pairs(network, operation, channels):
            channels.join(first, second)
    reasons = _reasons(network, channels, fixed)
    classes: dict[int, list[tuple[int, int]]] = {}
    kept: dict[str, list[str]] = {}
    for k, layer in enumerate(network.layers):
        for filter_, channel in enumerate(channels.of(layer).tolist()):
            root = channels.find(channel)
            if root in reasons:
                kept.setdefault(layer.name, []).append(reasons[root])
            else:
                classes.setdefault(root, []).append((k, filter_))
    return _groups(network, gates, classes), [Fixed(name, len(why), why[0]) for name, why in kept.items()]


def _pairs(network: Network, operation: Operation, channels: Channels) -> Iterator[tuple[Ints, Ints]]:
    """Channels of an operation that must go together."""
    rule, own, inputs = operation.rule, channels.of(operation), [channels.of(source) for source in network.sources(operation)]
    if isinstance(rule, Whole):
        return
    if isinstance(rule, Layer):
        yield from _grouped(rule, own, inputs[0])
    elif isinstance(rule, Cat):
        yield own, np.concatenate(inputs)
    elif isinstance(rule, Pick):
        yield own, inputs[0][rule.index]
    elif isinstance(rule, Gather):
        yield np.repeat(own, rule.factor), inputs[0]
    elif isinstance(rule, Spread):
        yield own, np.repeat(inputs[0], rule.factor)
    elif isinstance(rule, Place):
        yield own[rule.index], inputs[0][: len(rule.index)]
    elif isinstance(rule, Join):
        yield from ((own, one) for one, side in zip(inputs, rule.values, strict=True) if side.wide)
    else:
        yield own, inputs[0]


def _grouped(rule: Layer, own: Ints, inputs: Ints) -> Iterator[tuple[Ints, Ints]]:
    """A depthwise filter goes with its input; the groups of other grouped layers stay equally large."""
    if rule.groups == 1:
        return
    if rule.groups == rule.inputs:
        yield own, np.repeat(inputs, rule.channels // rule.groups)
        return
    for part in (own.reshape(rule.groups, -1), inputs.reshape(rule.groups, -1)):
        yield np.broadcast_to(part[:1], part.shape), part


def _reasons(network: Network, channels: Channels, fixed: Mapping[Operation, str]) -> dict[int, str]:
    """Why channels must stay, by the number that stands for them."""
    found: dict[int, str] = {}

    def note(operation: Operation, why: str) -> None:
        for channel in channels.of(operation).tolist():
            found.setdefault(channels.find(channel), why)

    for operation, why in fixed.items():
        note(operation, why)
    for operation in network.operations.values():
        if not isinstance(operation.rule, Whole):
            continue
        if operation.node.op != "output":
            note(operation, f"it is coupled with what '{operation.name or operation.node.name}' gives, which is no filter")
        for source in network.sources(operation):
            note(source, f"it is coupled with what '{operation.name or operation.node.name}' reads, which needs all channels")
    return found


def _groups(
    network: Network, gates: Mapping[Operation, Operation], classes: Mapping[int, list[tuple[int, int]]]
) -> tuple[FilterGroup, ...]:
    """Collect classes whose filters are of the same layers."""
    layers = network.layers
    alike: dict[tuple[int, ...], list[list[int]]] = {}
    for filters in sorted(classes.values()):
        alike.setdefault(tuple(k for k, _ in filters), []).append([filter_ for _, filter_ in filters])
    groups: list[FilterGroup] = []
    for signature, members in alike.items():
        columns = zip(*members, strict=True)
        of = [
            Member(layers[k].name, gates[layers[k]].name, column, layers[k].rule.channels)
            for k, column in zip(signature, columns, strict=True)
        ]
        first = of[0]
        taken = any(group.layer == first.layer for group in groups)
        name = f"{first.layer}[{first.filters[0]}:]" if taken else first.layer
        readers = [consumers(network, layers[k]) for k in dict.fromkeys(signature)]
        read, through = (tuple(dict.fromkeys(entry for one in part for entry in one)) for part in zip(*readers, strict=True))
        groups.append(FilterGroup(name, first.gate, len(members), tuple(of), read, through))
    return tuple(groups)
