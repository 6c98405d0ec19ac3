"""From a network and samples, or from a layer's contributions, to the program whose answer is the scores."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from scipy import sparse

from qprune_cli.errors import UserError, nearest
from qprune_cli.problem.budget import Prices
from qprune_cli.program import gate as gates
from qprune_cli.program.anchor import anchored
from qprune_cli.program.draft import Draft, Program, Value, wide
from qprune_cli.program.loss import CLASSIFIER, LOSSES, pay_labels, pay_targets
from qprune_cli.program.network import ReluNetwork
from qprune_cli.program.solve import extremes
from qprune_cli.program.sparsity import TERMS, keep_exactly, keep_within, pay_scores
from qprune_cli.types import Bools, Floats, Ints

STATES, SCORES = ("binary", "relaxed"), ("continuous", "binary")


@dataclass(frozen=True)
class Formulation:
    """How a program is written.

    Attributes:
        gate: valid or published (see ``program/gate.py``).
        relu: binary or relaxed states of ReLUs and maxima.
        loss: margin, softmax, l1 or l2 (see ``program/loss.py``).
        sparsity_term: normalised or published (see ``program/sparsity.py``).
        scores: continuous or binary.
        epsilon: half width of the box around the inputs that published bounds are for.
        tighten: seconds to spend on better bounds of ReLUs by linear programs.

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
        known = {"gate": gates.GATES, "relu": STATES, "loss": LOSSES, "sparsity_term": TERMS, "scores": SCORES}
        for name, words in known.items():
            if getattr(self, name) not in words:
                raise UserError(f"scorer.{name}={getattr(self, name)}: no such {name}; {nearest(getattr(self, name), words)}")
        for name in ("epsilon", "tighten"):
            if not 0 <= getattr(self, name) < np.inf:
                raise UserError(f"scorer.{name}={getattr(self, name)}: give a number, at least 0")


@dataclass(frozen=True)
class Limit:
    """What binary scores have to meet: exactly ``kept`` of them, or a cost by a model of it."""

    kept: int | None = None
    prices: Prices | None = None
    spend: float = 0.0


def joint_program(
    network: ReluNetwork, x: Floats, wanted: Floats | Ints, price: float, how: Formulation, allowed: Bools, limit: Limit | None = None
) -> Program:
    """One program for the whole network: every sample runs through it, and all share the scores.

    Args:
        network: the network.
        x: (N, inputs) samples.
        wanted: (N,) labels, or (N, outputs) targets.
        price: lambda, of the mean loss of a sample against the sparsity term.
        how: the formulation.
        allowed: (n,) False where a score is to be 0.
        limit: what binary scores have to meet.
    """
    draft = Draft()
    scores = _scores(draft, how, allowed)
    left = how.tighten
    outputs = []
    for sample in x:
        begun = perf_counter()
        outputs.append(_followed(draft, network, sample, scores, how, left))
        left -= perf_counter() - begun
    _pay(draft, how, outputs, wanted, price / len(x))
    _finish(draft, how, scores, network.layer_of, network.filters, limit)
    return draft.program(scores, stacked(outputs, draft.count))


def layer_program(
    columns: Floats, base: Floats, wanted: Floats | Ints, price: float, how: Formulation, filters: int, limit: Limit | None = None
) -> Program:
    """The program of one layer whose input is fixed: what reads it is linear in its scores, with no ReLU left to state.

    Args:
        columns: (m, n) what each filter of the layer adds to each output of the samples.
        base: (m,) what the outputs are without any.
        wanted: (N,) labels, or (m,) targets.
        price: lambda, of the mean loss of an output (of a sample, for labels).
        how: the formulation.
        filters: of the published sparsity term.
        limit: what binary scores have to meet.
    """
    draft, n = Draft(), columns.shape[1]
    scores = _scores(draft, how, np.ones(n, bool))
    low, high = (base + np.minimum(columns, 0).sum(axis=1), base + np.maximum(columns, 0).sum(axis=1))
    outputs = Value(sparse.csr_matrix(columns), base, low, high)
    totals = _pay(draft, how, [outputs], wanted, price / len(wanted))
    _finish(draft, how, scores, np.zeros(n, np.int64), np.array([filters]), limit)
    program = draft.program(scores, outputs)
    smooth = how.loss == "softmax" and how.scores == "continuous"
    return anchored(program, totals, columns, base, np.asarray(wanted)) if smooth else program


def stacked(values: list[Value], count: int) -> Value:
    """Values one below the other."""
    joined = [np.concatenate([getattr(value, name) for value in values]) for name in ("constant", "low", "high")]
    return Value(sparse.vstack([wide(value.matrix, count) for value in values]).tocsr(), *joined)


def _scores(draft: Draft, how: Formulation, allowed: Bools) -> Ints:
    return draft.variables(np.zeros(len(allowed)), allowed.astype(float), how.scores == "binary")


def _pay(draft: Draft, how: Formulation, outputs: list[Value], wanted: Floats | Ints, price: float) -> Ints:
    together = stacked(outputs, draft.count)
    if how.loss in CLASSIFIER:
        return pay_labels(draft, how.loss, together, np.asarray(wanted, np.int64), price)
    pay_targets(draft, how.loss, together, np.asarray(wanted, float).reshape(-1), price)
    return np.zeros(0, np.int64)


def _finish(draft: Draft, how: Formulation, scores: Ints, layer_of: Ints, filters: Ints, limit: Limit | None) -> None:
    pay_scores(draft, how.sparsity_term, scores, layer_of, filters)
    if limit is not None and limit.kept is not None:
        keep_exactly(draft, scores, limit.kept)
    if limit is not None and limit.prices is not None:
        keep_within(draft, scores, layer_of, limit.prices, limit.spend)


def _followed(draft: Draft, network: ReluNetwork, sample: Floats, scores: Ints, how: Formulation, seconds: float) -> Value:
    """One sample through the network."""
    published, binary = how.gate == "published", how.relu == "binary"
    values: list[Value] = []
    stop, begun = perf_counter() + seconds, draft.mark()
    for op in network.ops:
        inputs = [values[source] for source in op.sources]
        own = None if op.scores is None else np.where(op.scores >= 0, scores[np.maximum(op.scores, 0)], -1)
        if op.kind == "input":
            value = Value.fixed(sample, how.epsilon if published else 0.0)
        elif op.kind == "linear":
            value = draft.linear(op.matrices, inputs, op.constant)
        elif op.kind == "max":
            value = gates.largest(draft, inputs[0], op.windows, binary)
        else:
            before = inputs[0] if published else _bounded(draft, inputs[0], len(scores), stop, begun)
            value = gates.relu(draft, before, own, binary, published)
        if own is not None and op.kind != "relu":
            value = gates.gate(draft, value, own, published)
        values.append(value)
    return values[-1]


def _bounded(draft: Draft, value: Value, scores: int, stop: float, begun: int) -> Value:
    """A value with the best bounds that are cheap: intervals over variables, and linear programs while there is time.

    Entries that read nothing but scores have exact bounds already.
    """
    low, high = draft.box(value)
    low, high = np.maximum(value.low, low), np.minimum(value.high, high)
    open_ = np.flatnonzero((low < 0) & (high > 0))
    for row in open_[np.argsort((low - high)[open_], kind="stable")]:
        left = stop - perf_counter()
        own = value.matrix.indices[value.matrix.indptr[row] : value.matrix.indptr[row + 1]]
        if left <= 0:
            break
        if (own >= scores).any():
            weights = np.zeros(draft.count)
            weights[own] = value.matrix.data[value.matrix.indptr[row] : value.matrix.indptr[row + 1]]
            least, most = extremes(draft.program(np.arange(scores), value.at(np.array([row])), begun), weights, left)
            slack = 1e-7 * (1 + abs(least) + abs(most))
            low[row] = max(low[row], least + value.constant[row] - slack)
            high[row] = min(high[row], most + value.constant[row] + slack)
    return Value(value.matrix, value.constant, np.minimum(low, high), high)
