"""From a network of torch to the same as numbers: sparse matrices, ReLUs, maxima, and which score gates what."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, fx, nn

from qprune_cli.embedding.pieces import MAXIMA, RELUS, Pieces, acts, is_affine
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
    pieces = Pieces(network, layout, None).over(torch.zeros(1, *shape, dtype=torch.float64))
    gates = score_of(layout)
    ops: list[Op] = []
    place: dict[fx.Node, int] = {}
    for node, operation in network.operations.items():
        if node.op == "output":
            break
        result = pieces.results[node]
        if isinstance(result, Tensor) and result.numel() > MOST:
            raise UserError(
                f"scorer.mode=joint: '{operation.name or node.name}' gives {result.numel():,} numbers for a sample, more than the {MOST:,} "
                "that a joint program can hold; take scorer.mode=decoupled, or a smaller scorer.patch"
            )
        op = _op(network, operation, pieces, place)
        if operation.name in gates:
            own = gates[operation.name]
            op = Op(op.kind, op.sources, op.matrices, op.constant, op.windows, np.repeat(own, result[0].numel() // len(own)), op.name)
        place[node] = len(ops)
        ops.append(op)
    return ReluNetwork(tuple(ops), layout.layer_of, taps_of(model, layout))


def score_of(layout: Layout) -> dict[str, Ints]:
    """(channels,) variable that gates each channel, -1 for none, by the name of the module on whose output it acts."""
    found: dict[str, Ints] = {}
    start = 0
    for group in layout.groups:
        for member in group.members:
            own = found.setdefault(member.gate, np.full(member.width, -1))
            own[list(member.filters)] = np.arange(start, start + group.channels)
        start += group.channels
    return found


def taps_of(model: nn.Module, layout: Layout) -> Ints:
    """(l) what the published sparsity term divides a layer by: filters, of a convolution times the taps of its kernel."""
    modules = [model.get_submodule(group.layer) for group in layout.groups]
    taps = [int(np.prod(getattr(module, "kernel_size", (1,)))) for module in modules]
    return np.array([member.width * tap for member, tap in zip((g.members[0] for g in layout.groups), taps, strict=True)])


def _op(network: Network, operation: Operation, pieces: Pieces, place: dict[fx.Node, int]) -> Op:
    operands = tuple(dict.fromkeys(operation.sources))  # each once: x + x is 2 x
    sources, kind, name = tuple(place[source] for source in operands), acts(network, operation), operation.name or operation.node.name
    if operation.node.op == "placeholder":
        return Op("input", name=name)
    if kind in RELUS:
        return Op("relu", sources, name=name)
    if kind in MAXIMA:
        return Op("max", sources, windows=_windows(operation, pieces), name=name)
    if is_affine(network, operation) and isinstance(pieces.results[operation.node], Tensor):
        matrices, constant = _matrices(operation, operands, pieces)
        return Op("linear", sources, matrices, constant, name=name)
    said = kind.__name__ if hasattr(kind, "__name__") else str(kind)
    raise StructureError(
        f"operation '{said}' at '{name}': has no formulation as a mixed integer program; take scorer.mode=decoupled, which scores the "
        "layers around it"
    )


def _matrices(operation: Operation, operands: Sequence[fx.Node], pieces: Pieces) -> tuple[tuple[sparse.csr_matrix, ...], Floats]:
    """An affine operation as one sparse matrix for each operand, and a constant."""
    zeros = {source: torch.zeros_like(pieces.results[source]) for source in operands}
    nothing = pieces.again(operation.node, zeros).flatten()
    matrices = []
    for source in operands:
        shape = pieces.results[source].shape[1:]
        size, rows, columns, numbers = int(np.prod(shape)), [], [], []
        for start in range(0, size, AT_ONCE):
            units = torch.eye(size, dtype=torch.float64)[start : start + AT_ONCE].reshape(-1, *shape)
            found = (_batched(operation, pieces, source, units) - nothing).numpy()
            unit, output = np.nonzero(found)
            rows.append(output)
            columns.append(unit + start)
            numbers.append(found[unit, output])
        parts = (np.concatenate(numbers), (np.concatenate(rows), np.concatenate(columns)))
        matrices.append(sparse.csr_matrix(parts, shape=(len(nothing), size)))
    return tuple(matrices), nothing.numpy()


def _batched(operation: Operation, pieces: Pieces, source: fx.Node, units: Tensor) -> Tensor:
    """(k, ...) operands -> (k, outputs); one by one where the operation insists on its number of samples."""
    zeros = {other: torch.zeros(len(units), *pieces.results[other].shape[1:], dtype=torch.float64) for other in operation.sources}
    try:
        found = pieces.again(operation.node, zeros | {source: units})
    except RuntimeError:  # such as a view of a fixed shape
        found = torch.empty(0)
    if len(found) == len(units) and found[0].numel() == pieces.results[operation.node].numel():
        return torch.as_tensor(found.flatten(1))
    single = {other: value[:1] for other, value in zeros.items()}
    return torch.stack([pieces.again(operation.node, single | {source: unit[None]}).flatten() for unit in units])


def _windows(operation: Operation, pieces: Pieces) -> Ints:
    """(outputs, k) places that each maximum runs over: every place is tried against all others at the bottom of the range."""
    source = operation.sources[0]
    shape = pieces.results[source].shape[1:]
    size = int(np.prod(shape))
    reads: list[list[int]] = [[] for _ in range(pieces.results[operation.node].numel())]
    for start in range(0, size, AT_ONCE):
        units = torch.eye(size, dtype=torch.float64)[start : start + AT_ONCE].reshape(-1, *shape)
        for unit, output in np.argwhere(_batched(operation, pieces, source, units).numpy() > 0):
            reads[output].append(int(unit) + start)
    width = max(len(places) for places in reads)
    return np.array([places + [-1] * (width - len(places)) for places in reads])
