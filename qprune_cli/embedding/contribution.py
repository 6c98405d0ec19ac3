"""What each filter of a layer adds to the outputs of the layers that read it: exact, as these are linear in its gate.

The mask multiplies what leaves a gate. Pools scale with it, and everything else up to the next layer is affine, so that the output of a
reader is ``base + sum_i s_i column_i`` for every score s >= 0. Where something else comes first, such as the ReLU behind a sum, what
enters that is looked at in place of a reader.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx

from qprune_cli.embedding.pieces import MAXIMA, PURE, Pieces, acts, is_affine, is_layer
from qprune_cli.graph.network import Network, Operation
from qprune_cli.types import FilterGroup, Floats, Ints


@dataclass(frozen=True)
class Contributions:
    """What the filters of one group do to what is read.

    Attributes:
        columns: (m, n) of each filter, sample by sample.
        base: (m,) without any.
        wanted: (m,) as the network has it, or (N,) labels where these are logits.
    """

    columns: Floats
    base: Floats
    wanted: Floats | Ints


def readers_of(network: Network, group: FilterGroup) -> tuple[list[Operation], list[Operation]]:
    """The operations between the gates of a group and its readers, and the readers, in order.

    A reader is a layer, or the last operation before one that is not affine, or before the output.
    """
    gates = {member.gate for member in group.members}
    operations = list(network.operations.values())
    between = {operation.node: operation for operation in operations if operation.name in gates}
    pure, readers, walked = set(between), {}, []
    for operation in operations:
        touched = [source for source in operation.sources if source in between]
        if not touched or operation.node in between:
            continue
        kind = acts(network, operation) if operation.node.op != "output" else None
        if kind is not None and is_layer(network, operation):
            readers[operation.node] = operation
        elif kind is not None and (
            (is_affine(network, operation) and _is_tensor(network, operation)) or (kind in MAXIMA and touched[0] in pure)
        ):
            between[operation.node] = operation
            walked.append(operation)
            pure |= {operation.node} if kind in PURE and touched[0] in pure else set()
        else:
            readers |= {source: between[source] for source in touched}
    return walked, list(readers.values())


def _is_tensor(network: Network, operation: Operation) -> bool:
    return isinstance(network.graph.results[operation.node], Tensor)


def contributions(pieces: Pieces, group: FilterGroup, most: int, loss: str, rng: np.random.Generator) -> Contributions:
    """What the filters of a group add to the outputs of their readers.

    The outputs of each reader are divided by the mean size (l1) or the root of the mean square (l2) of what all filters add, so that an
    error is a share.

    Args:
        pieces: the network at a mask, with its results on the samples.
        group: whose filters.
        most: outputs to look at, in all.
        loss: l1 or l2.
        rng: chooses them.
    """
    walked, readers = readers_of(pieces.network, group)
    chosen = {operation.node: _drawn(pieces.results[operation.node], most // len(readers), rng) for operation in readers}
    kept, parts, bases, wholes = _kept(pieces, group), [], [], []
    for operation, columns in zip(readers, zip(*_columns(pieces, group, walked, readers, chosen), strict=True), strict=True):
        own = np.stack(columns, axis=1)
        now = _chosen(pieces.results[operation.node], chosen[operation.node])
        total = own[:, kept].sum(axis=1)
        scale = _size(total, loss)
        parts.append(own / scale)
        bases.append((now - total) / scale)
        wholes.append(now / scale)
    return Contributions(np.concatenate(parts), np.concatenate(bases), np.concatenate(wholes))


def logit_contributions(pieces: Pieces, group: FilterGroup, labels: Ints) -> Contributions | None:
    """The same for all outputs of a classifier, where they are what reads the group; None where something else does."""
    walked, readers = readers_of(pieces.network, group)
    last = next(node for node, operation in pieces.network.operations.items() if operation.node.op == "output")
    if [operation.node for operation in readers] != list(pieces.network.operations[last].sources):
        return None
    node = readers[0].node
    everything = {node: torch.arange(pieces.results[node].numel())}
    own = np.stack([found[0] for found in _columns(pieces, group, walked, readers, everything)], axis=1)
    now = _chosen(pieces.results[node], everything[node])
    return Contributions(own, now - own[:, _kept(pieces, group)].sum(axis=1), labels)


def _columns(
    pieces: Pieces, group: FilterGroup, walked: list[Operation], readers: list[Operation], chosen: dict[fx.Node, Tensor]
) -> Iterator[list[Floats]]:
    """For each filter of a group: what it adds to the chosen outputs of each reader."""
    opened = {member: pieces.gate(member.gate) for member in group.members}
    now = {operation.node: _chosen(pieces.results[operation.node], chosen[operation.node]) for operation in readers}
    for k, kept in enumerate(_kept(pieces, group)):
        state: dict[fx.Node, Tensor] = {}
        for member, (node, value) in opened.items():
            changed = state.get(node, pieces.results[node]).clone()
            changed[:, member.filters[k]] = 0 if kept else value[:, member.filters[k]]
            state[node] = changed
        for operation in walked:
            state[operation.node] = pieces.again(operation.node, state)
        other = [_chosen(_read(pieces, operation, state), chosen[operation.node]) for operation in readers]
        yield [(now[operation.node] - found) * (1 if kept else -1) for operation, found in zip(readers, other, strict=True)]


def _chosen(value: Tensor, places: Tensor) -> Floats:
    found: Floats = value.flatten()[places.to(value.device)].double().cpu().numpy()
    return found


def _read(pieces: Pieces, operation: Operation, state: dict[fx.Node, Tensor]) -> Tensor:
    found: Tensor = state[operation.node] if operation.node in state else pieces.again(operation.node, state)
    return found


def _kept(pieces: Pieces, group: FilterGroup) -> list[bool]:
    """Whether the mask keeps each filter of a group."""
    member = group.members[0]
    mask = pieces.masks.get(member.gate)
    return [mask is None or bool(mask[k]) for k in member.filters]


def _drawn(value: Tensor, most: int, rng: np.random.Generator) -> Tensor:
    """Places of some outputs, in order."""
    return torch.from_numpy(np.sort(rng.choice(value.numel(), min(max(most, 1), value.numel()), replace=False)))


def _size(total: Floats, loss: str) -> float:
    size = float(np.abs(total).mean() if loss == "l1" else np.sqrt(np.square(total).mean()))
    return size if size > 0 else 1.0
