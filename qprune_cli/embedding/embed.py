"""From a network of torch to the same as numbers: sparse matrices, ReLUs, maxima, and which score gates what."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, fx, nn

from qprune_cli.embedding.masked_run import MaskedRun
from qprune_cli.embedding.operations import MAXIMA, RELUS, is_affine, kind_of
from qprune_cli.errors import StructureError, UserError
from qprune_cli.graph.network import Network, Operation
from qprune_cli.program.network import Op, ReluNetwork
from qprune_cli.types import Floats, Ints, Layout

MOST = 20_000  # numbers in a value of one sample; a joint program of more is out of reach
AT_ONCE = 256  # unit vectors that an operation is tried on at a time


def embedded(model: nn.Module, layout: Layout, shape: Sequence[int]) -> ReluNetwork:
    """Write a network down as numbers. Any affine operation becomes a sparse matrix by what it does to unit vectors.

    Args:
        model: in evaluation mode; computed with in float64.
        layout: its filters, which get a score each.
        shape: (C, H, W) of a sample.

    Raises:
        StructureError: an operation is neither affine, nor a ReLU, nor a maximum: it has no formulation.
        UserError: the values of the network are too large for one program.
    """
    network = Network(model, layout.shape, layout.wrap)
    run = MaskedRun(network, layout, None).over(torch.zeros(1, *shape, dtype=torch.float64))
    variables = variables_at_gates(layout)
    ops: list[Op] = []
    positions: dict[fx.Node, int] = {}
    for node, operation in network.operations.items():
        if node.op == "output":
            break
        _refuse_large(operation, run.results[node])
        op = _op(run, operation, positions)
        if operation.name in variables:
            channels = variables[operation.name]
            op = replace(op, scores=np.repeat(channels, run.results[node][0].numel() // len(channels)))
        positions[node] = len(ops)
        ops.append(op)
    return ReluNetwork(tuple(ops), layout.layer_of, taps_of(model, layout))


def variables_at_gates(layout: Layout) -> dict[str, Ints]:
    """(width,) variable that gates each channel, -1 for none, by the name of the module on whose output it acts."""
    variables: dict[str, Ints] = {}
    start = 0
    for group in layout.groups:
        for member in group.members:
            channels = variables.setdefault(member.gate, np.full(member.width, -1))
            channels[list(member.filters)] = np.arange(start, start + group.channels)
        start += group.channels
    return variables


def taps_of(model: nn.Module, layout: Layout) -> Ints:
    """(l,) what the published sparsity term divides a layer by: filters, of a convolution times the taps of its kernel."""
    modules = [model.get_submodule(group.layer) for group in layout.groups]
    taps = [int(np.prod(getattr(module, "kernel_size", (1,)))) for module in modules]
    return np.array([member.width * tap for member, tap in zip((g.members[0] for g in layout.groups), taps, strict=True)])


def _refuse_large(operation: Operation, result: object) -> None:
    if isinstance(result, Tensor) and result.numel() > MOST:
        raise UserError(
            f"scorer.mode=joint: '{operation.name or operation.node.name}' gives {result.numel():,} numbers for a sample, more than the "
            f"{MOST:,} that a joint program can hold; take scorer.mode=decoupled, or a smaller scorer.patch"
        )


def _op(run: MaskedRun, operation: Operation, positions: Mapping[fx.Node, int]) -> Op:
    """An operation as numbers; ``positions`` are those of its operands in the list of operations."""
    operands = tuple(dict.fromkeys(operation.sources))  # each once: x + x is 2 x
    kind, name = kind_of(run.network, operation), operation.name or operation.node.name
    sources = tuple(positions[source] for source in operands)
    if operation.node.op == "placeholder":
        return Op("input", name=name)
    if kind in RELUS:
        return Op("relu", sources, name=name)
    if kind in MAXIMA:
        return Op("max", sources, windows=_windows(run, operation), name=name)
    if is_affine(run.network, operation) and isinstance(run.results[operation.node], Tensor):
        matrices, constant = _matrices(run, operation, operands)
        return Op("linear", sources, matrices, constant, name=name)
    text = kind.__name__ if hasattr(kind, "__name__") else str(kind)
    raise StructureError(
        f"operation '{text}' at '{name}': has no formulation as a mixed integer program; take scorer.mode=decoupled, which scores the "
        "layers around it"
    )


def _matrices(run: MaskedRun, operation: Operation, operands: Sequence[fx.Node]) -> tuple[tuple[sparse.csr_matrix, ...], Floats]:
    """An affine operation as one sparse (outputs, inputs) matrix for each operand, and an (outputs,) constant."""
    zeros = {source: torch.zeros_like(run.results[source]) for source in operands}
    constant = run.rerun(operation.node, zeros).flatten()
    matrices = []
    for source in operands:
        rows, columns, entries = [], [], []
        for start, responses in _responses(run, operation, source):
            changes = (responses - constant).numpy()
            unit, output = np.nonzero(changes)
            rows.append(output)
            columns.append(unit + start)
            entries.append(changes[unit, output])
        parts = (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns)))
        matrices.append(sparse.csr_matrix(parts, shape=(len(constant), run.results[source][0].numel())))
    return tuple(matrices), constant.numpy()


def _windows(run: MaskedRun, operation: Operation) -> Ints:
    """(outputs, k) positions that each maximum runs over, -1 for none: a single 1 among zeros shows in the outputs that read it."""
    reads: list[list[int]] = [[] for _ in range(run.results[operation.node].numel())]
    for start, responses in _responses(run, operation, operation.sources[0]):
        for unit, output in np.argwhere(responses.numpy() > 0):
            reads[output].append(int(unit) + start)
    width = max(len(positions) for positions in reads)
    return np.array([positions + [-1] * (width - len(positions)) for positions in reads])


def _responses(run: MaskedRun, operation: Operation, source: fx.Node) -> Iterator[tuple[int, Tensor]]:
    """Number of the first one, and (k, outputs) what an operation makes of k unit vectors as one operand; the others are 0."""
    shape = run.results[source].shape[1:]
    size = int(np.prod(shape))
    for start in range(0, size, AT_ONCE):
        units = torch.eye(size, dtype=torch.float64)[start : start + AT_ONCE].reshape(-1, *shape)
        yield start, _batched(run, operation, source, units)


def _batched(run: MaskedRun, operation: Operation, source: fx.Node, units: Tensor) -> Tensor:
    """(k, ...) operands -> (k, outputs); one by one where the operation insists on its number of samples."""
    zeros = {other: torch.zeros(len(units), *run.results[other].shape[1:], dtype=torch.float64) for other in operation.sources}
    try:
        outputs = run.rerun(operation.node, zeros | {source: units})
    except RuntimeError:  # such as a view of a fixed shape
        outputs = torch.empty(0)
    if len(outputs) == len(units) and outputs[0].numel() == run.results[operation.node].numel():
        return torch.as_tensor(outputs.flatten(1))
    single = {other: value[:1] for other, value in zeros.items()}
    return torch.stack([run.rerun(operation.node, single | {source: unit[None]}).flatten() for unit in units])
