"""What a program pays for the outputs of a network: linear, or one of the two convex functions that SCIP takes."""

from typing import Any

import numpy as np
from scipy import sparse

from qprune_cli.program.draft import Draft, Value, wide
from qprune_cli.types import Floats, Ints

CLASSIFIER, REGRESSION = ("margin", "softmax"), ("l1", "l2")
LOSSES = (*CLASSIFIER, *REGRESSION)
MARGIN = 1.0  # by which the right class is to lead
FLAT = -30.0  # exponent below which an exponential is 0 to the solver


def pay_labels(draft: Draft, loss: str, logits: Value, labels: Ints, price: float) -> Ints:
    """Loss of a classifier, summed over samples and multiplied by ``price``.

    margin: ``sum_{c != y} max(0, 1 - (o_y - o_c))``; softmax: ``log sum_c exp(o_c) - o_y``.

    Args:
        draft: the program so far.
        loss: margin or softmax.
        logits: (N * classes,) sample by sample.
        labels: (N,)
        price: of one unit.

    Returns:
        (N,) variables that hold the losses of softmax; none for the margin, which has one for each class.
    """
    classes = len(logits) // len(labels)
    lead = leads(labels, classes)  # o_c - o_y for each other class
    behind = Value(sparse.csr_matrix(lead @ logits.matrix), lead @ logits.constant, *(np.full(lead.shape[0], v) for v in (-np.inf, np.inf)))
    if loss == "margin":
        short = draft.variables(np.zeros(len(behind)), np.full(len(behind), np.inf))
        draft.require([(short, 1.0), (behind, -1.0)], MARGIN, np.inf)
        draft.pay(short, price)
        return np.zeros(0, np.int64)
    totals = draft.variables(np.zeros(len(labels)), np.full(len(labels), np.inf))
    draft.pay(totals, price)
    # Rising functions of what they are no less than: so they may be cut off where an exponential no longer counts.
    spread = draft.variables(np.full(len(behind), FLAT), np.zeros(len(behind)))
    draft.require([(spread, 1.0), (behind, -1.0), (np.repeat(totals, classes - 1), 1.0)], 0.0, np.inf)
    right = draft.variables(np.full(len(labels), FLAT), np.zeros(len(labels)))
    draft.require([(right, 1.0), (totals, 1.0)], 0.0, np.inf)
    draft.exponentials += [np.append(own, r) for own, r in zip(spread.reshape(len(labels), -1), right, strict=True)]
    return totals


def pay_targets(draft: Draft, loss: str, outputs: Value, targets: Floats, price: float) -> None:
    """Distance of outputs from what they should be: ``sum |o - t|`` (l1) or ``sum (o - t)^2`` (l2), multiplied by ``price``."""
    wrong = Value(outputs.matrix, outputs.constant - targets, outputs.low - targets, outputs.high - targets)
    if loss == "l1":
        over, under = (draft.variables(np.zeros(len(wrong)), np.full(len(wrong), np.inf)) for _ in range(2))
        draft.require([(over, 1.0), (under, -1.0), (wrong, -1.0)], 0.0, 0.0)
        draft.pay(over, price)
        draft.pay(under, price)
        return
    wrong = compressed(wrong, draft)
    error = draft.variables(np.full(len(wrong), -np.inf), np.full(len(wrong), np.inf))
    square = draft.variables(np.zeros(len(wrong)), np.full(len(wrong), np.inf))
    draft.require([(error, 1.0), (wrong, -1.0)], 0.0, 0.0)
    draft.squares += [np.array(pair) for pair in zip(error, square, strict=True)]
    draft.pay(square, price)


def compressed(value: Value, draft: Draft) -> Value:
    """A value of the same length for every choice of its variables, with at most one entry more than there are variables in it."""
    used = np.unique(value.matrix.indices)
    if len(value) <= len(used) + 1:
        return value
    whole = np.column_stack([wide(value.matrix, draft.count)[:, used].toarray(), value.constant])
    triangle: Any = np.linalg.qr(whole, mode="r")
    matrix = sparse.csr_matrix(triangle[:, :-1]).tocoo()
    rows = sparse.csr_matrix((matrix.data, (matrix.row, used[matrix.col])), shape=(len(triangle), draft.count))
    bounds = np.full(len(triangle), np.inf)
    return Value(rows, triangle[:, -1], -bounds, bounds)


def leads(labels: Ints, classes: int) -> sparse.csr_matrix:
    """(N * (classes - 1), N * classes) rows ``o_c - o_y`` for the classes that are not right."""
    sample, other = np.nonzero(np.arange(classes)[None] != labels[:, None])
    count = len(sample)
    columns = np.concatenate([sample * classes + other, sample * classes + labels[sample]])
    numbers = np.repeat([1.0, -1.0], count), (np.tile(np.arange(count), 2), columns)
    return sparse.csr_matrix(numbers, shape=(count, classes * len(labels)))
