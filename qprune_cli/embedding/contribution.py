"""What each filter of a layer adds to the outputs of the layers that read it: exact, as these are linear in its gate.

The mask multiplies what leaves a gate. Pools scale with it, and everything else up to the next layer is affine, so that the output of a
reader is ``base + sum_i s_i column_i`` for every score s >= 0. Where something else comes first, such as the ReLU behind a sum, what
enters that is looked at in place of a reader.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx

from qprune_cli.embedding.masked_run import MaskedRun
from qprune_cli.embedding.operations import MAXIMA, PURE, is_affine, is_layer, kind_of
from qprune_cli.graph.network import Network, Operation
from qprune_cli.types import FilterGroup, Floats, Ints


@dataclass(frozen=True)
class Contributions:
    """What the filters of one group add to m values that are read, as ``base + columns @ scores``.

    Attributes:
        columns: (m, channels) what each filter adds, sample by sample.
        base: (m,) the values without any filter of the group.
        wanted: (m,) the values that the network has, or (N,) labels where the values are logits.
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
        kind = kind_of(network, operation) if operation.node.op != "output" else None
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


def contributions(run: MaskedRun, group: FilterGroup, most: int, loss: str, rng: np.random.Generator) -> Contributions:
    """What the filters of a group add to the outputs of their readers.

    The outputs of each reader are divided by the mean size (l1) or the root of the mean square (l2) of what all filters add, so that an
    error is a share.

    Args:
        run: the network at a mask, with its results on the samples.
        group: whose filters.
        most: outputs to look at, in all.
        loss: l1 or l2.
        rng: draws them.
    """
    between, readers = readers_of(run.network, group)
    drawn = {reader.node: _drawn(run.results[reader.node], most // len(readers), rng) for reader in readers}
    kept, columns, bases, outputs = _kept(run, group), [], [], []
    for node, parts in zip(drawn, zip(*_columns(run, group, between, readers, drawn), strict=True), strict=True):
        added = np.stack(parts, axis=1)
        output = _at(run.results[node], drawn[node])
        total = added[:, kept].sum(axis=1)
        scale = _size(total, loss)
        columns.append(added / scale)
        bases.append((output - total) / scale)
        outputs.append(output / scale)
    return Contributions(np.concatenate(columns), np.concatenate(bases), np.concatenate(outputs))


def logit_contributions(run: MaskedRun, group: FilterGroup, labels: Ints) -> Contributions | None:
    """What the filters of a group add to the logits of a classifier; None where something before the logits reads the group.

    Args:
        run: the classifier at a mask, with its results on the samples.
        group: whose filters.
        labels: (N,) of the samples.
    """
    between, readers = readers_of(run.network, group)
    last = next(operation for operation in run.network.operations.values() if operation.node.op == "output")
    if [reader.node for reader in readers] != list(last.sources):
        return None
    node = readers[0].node
    everything = {node: torch.arange(run.results[node].numel())}
    columns = np.stack([parts[0] for parts in _columns(run, group, between, readers, everything)], axis=1)
    logits = _at(run.results[node], everything[node])
    return Contributions(columns, logits - columns[:, _kept(run, group)].sum(axis=1), labels)


def _columns(
    run: MaskedRun, group: FilterGroup, between: list[Operation], readers: list[Operation], positions: Mapping[fx.Node, Tensor]
) -> Iterator[list[Floats]]:
    """For each filter of a group: what it adds to the outputs of each reader at some positions."""
    gates = [(member, *run.gate_value(member.gate)) for member in group.members]
    before = {reader.node: _at(run.results[reader.node], positions[reader.node]) for reader in readers}
    for k, kept in enumerate(_kept(run, group)):
        values: dict[fx.Node, Tensor] = {}  # with filter k on the other side of the mask
        for member, node, unmasked in gates:
            changed = values.get(node, run.results[node]).clone()
            changed[:, member.filters[k]] = 0 if kept else unmasked[:, member.filters[k]]
            values[node] = changed
        for operation in between:
            values[operation.node] = run.rerun(operation.node, values)
        after = {reader.node: _at(_read(run, reader, values), positions[reader.node]) for reader in readers}
        yield [(before[node] - after[node]) * (1 if kept else -1) for node in before]


def _read(run: MaskedRun, reader: Operation, values: dict[fx.Node, Tensor]) -> Tensor:
    """The output of a reader, where the values before it are others."""
    output: Tensor = values[reader.node] if reader.node in values else run.rerun(reader.node, values)
    return output


def _at(value: Tensor, positions: Tensor) -> Floats:
    """The entries of a flattened value at some positions, float64."""
    entries: Floats = value.flatten()[positions.to(value.device)].double().cpu().numpy()
    return entries


def _kept(run: MaskedRun, group: FilterGroup) -> list[bool]:
    """Whether the mask keeps each filter of a group."""
    member = group.members[0]
    mask = run.masks.get(member.gate)
    return [mask is None or bool(mask[k]) for k in member.filters]


def _drawn(value: Tensor, most: int, rng: np.random.Generator) -> Tensor:
    """At most so many positions in a flattened value, at least one, in order."""
    return torch.from_numpy(np.sort(rng.choice(value.numel(), min(max(most, 1), value.numel()), replace=False)))


def _size(total: Floats, loss: str) -> float:
    """Mean size or root of the mean square, by the loss; 1 where that is 0."""
    size = float(np.abs(total).mean() if loss == "l1" else np.sqrt(np.square(total).mean()))
    return size if size > 0 else 1.0


def _is_tensor(network: Network, operation: Operation) -> bool:
    return isinstance(network.graph.results[operation.node], Tensor)
