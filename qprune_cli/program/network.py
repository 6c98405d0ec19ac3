"""A network of linear maps, ReLUs and maxima as arrays: the input of a mixed integer program, and the check of its solution."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from qprune_cli.types import Floats, Ints

KINDS = ("input", "linear", "relu", "max")


@dataclass(frozen=True)
class Op:
    """One operation on the flattened values of one sample.

    Attributes:
        kind: ``input``; ``linear``: ``sum_j matrices[j] @ sources[j] + constant``; ``relu``; or ``max``: over ``windows``.
        sources: indices of its operands in the list of operations.
        matrices: (outputs, inputs) sparse, one for each operand of a linear operation.
        constant: (outputs,) constant terms of a linear operation.
        windows: (outputs, k) entries of the operand that each maximum runs over, -1 for none.
        scores: (outputs,) number of the score that gates each result, -1 for none; None where no result is gated.
        name: name of the operation in the network, for messages.
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
        filters: (l,) numbers that the published sparsity term divides by: outputs of a linear layer; outputs times kernel taps of a
            convolution.
    """

    ops: tuple[Op, ...]
    layer_of: Ints
    filters: Ints

    @property
    def n(self) -> int:
        """Number of scores, one per filter."""
        return len(self.layer_of)


def simulate(network: ReluNetwork, x: Floats, scores: Floats) -> list[Floats]:
    """Run samples through a network with gates ``scores``: each gated value is multiplied by its score.

    Args:
        network: the network.
        x: (N, inputs) samples.
        scores: (n,) in [0, 1].

    Returns:
        (N, outputs) results of every operation, in order.
    """
    values: list[Floats] = []
    for op in network.ops:
        inputs = [values[source] for source in op.sources]
        if op.kind == "input":
            value = x
        elif op.kind == "linear":
            value = op.constant + sum((matrix @ operand.T).T for matrix, operand in zip(op.matrices, inputs, strict=True))
        elif op.kind == "relu":
            value = np.maximum(inputs[0], 0)
        else:
            value = maxima(inputs[0], op.windows)
        values.append(value if op.scores is None else value * gates(op.scores, scores))
    return values


def maxima(values: Floats, windows: Ints) -> Floats:
    """(N, inputs) values -> (N, outputs): the largest value in each of (outputs, k) windows, whose entry -1 stands for none."""
    padded = np.concatenate([values, np.full((len(values), 1), -np.inf)], axis=1)
    largest: Floats = padded[:, windows].max(axis=2)
    return largest


def gates(score_of: Ints, scores: Floats) -> Floats:
    """(outputs,) factor of each value: its score among (n,) scores, by (outputs,) numbers; 1 where the number is -1."""
    factors: Floats = np.where(score_of >= 0, scores[np.maximum(score_of, 0)], 1.0)
    return factors


def layers_of(layer_of: Ints) -> Sequence[Ints]:
    """L arrays: the numbers of the scores of each layer, from the (n,) layer of each score."""
    return [np.flatnonzero(layer_of == layer) for layer in range(int(layer_of.max()) + 1)]
