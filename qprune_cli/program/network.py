"""A network of linear maps, ReLUs and maxima as numbers: what a mixed integer program is made from, and what checks its answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from qprune_cli.types import Floats, Ints

KINDS = ("input", "linear", "relu", "max")


@dataclass(frozen=True)
class Op:
    """One operation on flattened values, of one sample.

    Attributes:
        kind: ``input``; ``linear``: ``sum_j matrices[j] @ sources[j] + constant``; ``relu``; or ``max``: over ``windows``.
        sources: places of its operands in the list of operations.
        matrices: (outputs, inputs) sparse, one for each operand.
        constant: (outputs,)
        windows: (outputs, k) places in the operand that the maximum runs over, -1 for none.
        scores: (outputs,) score that gates each value behind the operation, -1 for none; None where nothing is gated.
        name: of the operation in the network.
    """

    kind: str
    sources: tuple[int, ...] = ()
    matrices: tuple[sparse.csr_matrix, ...] = ()
    constant: Floats = field(default_factory=lambda: np.zeros(0))
    windows: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    scores: Ints | None = None
    name: str = ""


@dataclass(frozen=True)
class ReluNetwork:
    """Operations in the order of the forward pass; the last one gives the output.

    Attributes:
        ops: the operations, the input first.
        layer_of: (n,) layer of each score.
        filters: (l,) numbers that the published sparsity term divides by: outputs of a linear layer, outputs times taps of a convolution.
    """

    ops: tuple[Op, ...]
    layer_of: Ints
    filters: Ints

    @property
    def n(self) -> int:
        """Number of scores."""
        return len(self.layer_of)


def simulate(network: ReluNetwork, x: Floats, scores: Floats) -> list[Floats]:
    """Run samples through a network with gates ``scores``: each gated value is multiplied by its score.

    Args:
        network: the network.
        x: (N, inputs) samples.
        scores: (n,) in [0, 1].

    Returns:
        (N, outputs) of every operation.
    """
    values: list[Floats] = []
    for op in network.ops:
        inputs = [values[source] for source in op.sources]
        if op.kind == "input":
            value = x
        elif op.kind == "linear":
            value = op.constant + sum((matrix @ given.T).T for matrix, given in zip(op.matrices, inputs, strict=True))
        elif op.kind == "relu":
            value = np.maximum(inputs[0], 0)
        else:
            value = maxima(inputs[0], op.windows)
        values.append(value if op.scores is None else value * gates(op.scores, scores))
    return values


def maxima(values: Floats, windows: Ints) -> Floats:
    """(N, inputs) -> (N, outputs): the largest value in each window."""
    padded = np.concatenate([values, np.full((len(values), 1), -np.inf)], axis=1)
    found: Floats = padded[:, windows].max(axis=2)
    return found


def gates(places: Ints, scores: Floats) -> Floats:
    """(outputs,) factor of each value: its score, 1 where nothing gates it."""
    found: Floats = np.where(places >= 0, scores[np.maximum(places, 0)], 1.0)
    return found


def layers_of(layer_of: Ints) -> Sequence[Ints]:
    """The scores of each layer."""
    return [np.flatnonzero(layer_of == layer) for layer in range(int(layer_of.max()) + 1)]
