"""Writes programs whose solution is the scores: of a whole network on samples, or of one layer from what its filters contribute."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from scipy import sparse

from qprune_cli.errors import UserError, nearest
from qprune_cli.problem.budget import Prices
from qprune_cli.program import gate as gates
from qprune_cli.program.affine import Affine, wide
from qprune_cli.program.builder import ProgramBuilder
from qprune_cli.program.loss import CLASSIFIER, LOSSES, pay_labels, pay_targets
from qprune_cli.program.maximum import largest
from qprune_cli.program.network import ReluNetwork
from qprune_cli.program.program import Program
from qprune_cli.program.smooth_start import with_smooth_optimum
from qprune_cli.program.solve import extremes
from qprune_cli.program.sparsity import TERMS, keep_exactly, keep_within, pay_scores
from qprune_cli.types import Bools, Floats, Ints

STATES, SCORES = ("binary", "relaxed"), ("continuous", "binary")  # of ReLUs and maxima, and of scores


@dataclass(frozen=True)
class Formulation:
    """How a program is written.

    Attributes:
        gate: valid or published (see ``program/gate.py``).
        relu: binary or relaxed states of ReLUs and maxima.
        loss: margin, softmax, l1 or l2 (see ``program/loss.py``).
        sparsity_term: normalised or published (see ``program/sparsity.py``).
        scores: continuous or binary.
        epsilon: half width of the box around the inputs that published bounds hold in.
        tighten: seconds to spend on better bounds of ReLUs by linear programs; 0 for none.

    Raises:
        UserError: a value is unknown or out of range.
    """

    gate: str = "valid"
    relu: str = "binary"
    loss: str = "margin"
    sparsity_term: str = "normalised"
    scores: str = "continuous"
    epsilon: float = 1e-5
    tighten: float = 0.0

    def __post_init__(self) -> None:
        words_of = {"gate": gates.GATES, "relu": STATES, "loss": LOSSES, "sparsity_term": TERMS, "scores": SCORES}
        for name, words in words_of.items():
            if getattr(self, name) not in words:
                raise UserError(f"scorer.{name}={getattr(self, name)}: no such {name}; {nearest(getattr(self, name), words)}")
        for name in ("epsilon", "tighten"):
            if not 0 <= getattr(self, name) < np.inf:
                raise UserError(f"scorer.{name}={getattr(self, name)}: give a number, at least 0")


@dataclass(frozen=True)
class Limit:
    """What binary scores have to meet: a number of scores that are 1, or a modelled cost.

    Attributes:
        kept: exact number of scores that are 1; None for no such limit.
        prices: model of the cost; None for no such limit.
        spend: highest modelled cost.
    """

    kept: int | None = None
    prices: Prices | None = None
    spend: float = 0.0


def joint_program(
    network: ReluNetwork,
    x: Floats,
    targets: Floats | Ints,
    price: float,
    formulation: Formulation,
    allowed: Bools,
    limit: Limit | None = None,
) -> Program:
    """One program for a whole network: every sample passes through it, and all samples share the scores.

    Args:
        network: the network.
        x: (N, inputs) samples.
        targets: (N,) labels, or (N, outputs) target outputs.
        price: lambda, the price of the mean loss of a sample next to the sparsity term.
        formulation: the formulation.
        allowed: (n,) False where a score must be 0.
        limit: what binary scores have to meet; None for no limit.
    """
    builder = ProgramBuilder()
    scores = _scores(builder, formulation, allowed)
    seconds = formulation.tighten
    outputs = []
    for sample in x:
        begun = perf_counter()
        outputs.append(_propagated(builder, network, sample, scores, formulation, seconds))
        seconds -= perf_counter() - begun
    _pay(builder, formulation, outputs, targets, price / len(x))
    _finish(builder, formulation, scores, network.layer_of, network.filters, limit)
    return builder.build(scores, stacked(outputs, builder.count))


def layer_program(
    columns: Floats, base: Floats, targets: Floats | Ints, price: float, formulation: Formulation, filters: int, limit: Limit | None = None
) -> Program:
    """The program of one layer whose input is fixed: the outputs of its readers are linear in its scores, so it contains no ReLU.

    Args:
        columns: (m, n) what each filter of the layer adds to each of the m outputs of all samples.
        base: (m,) outputs without any filter.
        targets: (N,) labels, or (m,) target outputs.
        price: lambda, the price of the mean loss of an output (of a sample, for labels) next to the sparsity term.
        formulation: the formulation.
        filters: number that the published sparsity term divides by.
        limit: what binary scores have to meet; None for no limit.
    """
    builder, n = ProgramBuilder(), columns.shape[1]
    scores = _scores(builder, formulation, np.ones(n, bool))
    low, high = (base + np.minimum(columns, 0).sum(axis=1), base + np.maximum(columns, 0).sum(axis=1))
    outputs = Affine(sparse.csr_matrix(columns), base, low, high)
    totals = _pay(builder, formulation, [outputs], targets, price / len(targets))
    _finish(builder, formulation, scores, np.zeros(n, np.int64), np.array([filters]), limit)
    program = builder.build(scores, outputs)
    smooth = formulation.loss == "softmax" and formulation.scores == "continuous"
    return with_smooth_optimum(program, totals, columns, base, np.asarray(targets)) if smooth else program


def stacked(values: list[Affine], count: int) -> Affine:
    """Join affine vectors into one; ``count`` is the number of variables."""
    joined = [np.concatenate([getattr(value, name) for value in values]) for name in ("constant", "low", "high")]
    return Affine(sparse.vstack([wide(value.matrix, count) for value in values]).tocsr(), *joined)


def _scores(builder: ProgramBuilder, formulation: Formulation, allowed: Bools) -> Ints:
    return builder.add_variables(np.zeros(len(allowed)), allowed.astype(float), formulation.scores == "binary")


def _pay(builder: ProgramBuilder, formulation: Formulation, outputs: list[Affine], targets: Floats | Ints, price: float) -> Ints:
    together = stacked(outputs, builder.count)
    if formulation.loss in CLASSIFIER:
        return pay_labels(builder, formulation.loss, together, np.asarray(targets, np.int64), price)
    pay_targets(builder, formulation.loss, together, np.asarray(targets, float).reshape(-1), price)
    return np.zeros(0, np.int64)


def _finish(builder: ProgramBuilder, formulation: Formulation, scores: Ints, layer_of: Ints, filters: Ints, limit: Limit | None) -> None:
    pay_scores(builder, formulation.sparsity_term, scores, layer_of, filters)
    if limit is not None and limit.kept is not None:
        keep_exactly(builder, scores, limit.kept)
    if limit is not None and limit.prices is not None:
        keep_within(builder, scores, layer_of, limit.prices, limit.spend)


def _propagated(
    builder: ProgramBuilder, network: ReluNetwork, sample: Floats, scores: Ints, formulation: Formulation, seconds: float
) -> Affine:
    """Pass a sample through the network: add variables and rows for every operation, and return its (outputs,).

    Args:
        builder: the program so far.
        network: the network.
        sample: (inputs,) the sample.
        scores: (n,) variables of the scores.
        formulation: the formulation.
        seconds: time to spend on better bounds by linear programs.
    """
    published, binary = formulation.gate == "published", formulation.relu == "binary"
    values: list[Affine] = []
    stop, begun = perf_counter() + seconds, builder.mark()
    for op in network.ops:
        inputs = [values[source] for source in op.sources]
        gating = None if op.scores is None else np.where(op.scores >= 0, scores[np.maximum(op.scores, 0)], -1)
        if op.kind == "input":
            value = Affine.fixed(sample, formulation.epsilon if published else 0.0)
        elif op.kind == "linear":
            value = builder.linear_map(op.matrices, inputs, op.constant)
        elif op.kind == "max":
            value = largest(builder, inputs[0], op.windows, binary)
        else:
            before = inputs[0] if published else _bounded(builder, inputs[0], len(scores), stop, begun)
            value = gates.relu(builder, before, gating, binary, published)
        if gating is not None and op.kind != "relu":
            value = gates.gate(builder, value, gating, published)
        values.append(value)
    return values[-1]


def _bounded(builder: ProgramBuilder, value: Affine, scores: int, stop: float, begun: int) -> Affine:
    """An affine vector with better bounds: by intervals over the variables, and by linear programs while there is time.

    Entries whose only variables are scores have exact bounds already.

    Args:
        builder: the program so far.
        value: (m,) the vector.
        scores: number of scores, which are the first variables.
        stop: time of ``perf_counter`` at which to stop.
        begun: mark of the builder where the rows of the sample begin.
    """
    low, high = builder.bounds(value)
    low, high = np.maximum(value.low, low), np.minimum(value.high, high)
    open_ = np.flatnonzero((low < 0) & (high > 0))
    for row in open_[np.argsort((low - high)[open_], kind="stable")]:
        seconds = stop - perf_counter()
        variables = value.matrix.indices[value.matrix.indptr[row] : value.matrix.indptr[row + 1]]
        if seconds <= 0:
            break
        if (variables >= scores).any():
            weights = np.zeros(builder.count)
            weights[variables] = value.matrix.data[value.matrix.indptr[row] : value.matrix.indptr[row + 1]]
            least, most = extremes(builder.build(np.arange(scores), value.at(np.array([row])), begun), weights, seconds)
            slack = 1e-7 * (1 + abs(least) + abs(most))
            low[row] = max(low[row], least + value.constant[row] - slack)
            high[row] = min(high[row], most + value.constant[row] + slack)
    return Affine(value.matrix, value.constant, np.minimum(low, high), high)
