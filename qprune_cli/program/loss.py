"""Losses of the outputs of a network as costs of a program: linear, or by squares or exponentials, which SCIP takes."""

from typing import Any

import numpy as np
from scipy import sparse

from qprune_cli.program.affine import Affine, wide
from qprune_cli.program.builder import ProgramBuilder
from qprune_cli.types import Floats, Ints

CLASSIFIER, REGRESSION = ("margin", "softmax"), ("l1", "l2")
LOSSES = (*CLASSIFIER, *REGRESSION)
MARGIN = 1.0  # by which the logit of the label should exceed the others
FLAT = -30.0  # exponent below which an exponential counts as 0 for the solver


def pay_labels(builder: ProgramBuilder, loss: str, logits: Affine, labels: Ints, price: float) -> Ints:
    """Add the loss of a classifier, summed over the samples and multiplied by ``price``.

    With y the label and o the logits of a sample, margin: ``sum_{c != y} max(0, 1 - (o_y - o_c))``; softmax: ``log sum_c exp(o_c) - o_y``.

    Args:
        builder: the program so far.
        loss: margin or softmax.
        logits: (N * classes,) logits, sample by sample.
        labels: (N,) numbers of the right classes.
        price: cost of one unit of the loss.

    Returns:
        (N,) variables that are the losses of the samples for softmax; an empty array for the margin, which has one for each class.
    """
    classes = len(logits) // len(labels)
    lead = leads(labels, classes)  # o_c - o_y for each other class
    open_ends = (np.full(lead.shape[0], end) for end in (-np.inf, np.inf))
    behind = Affine(sparse.csr_matrix(lead @ logits.matrix), lead @ logits.constant, *open_ends)
    if loss == "margin":
        short = builder.add_variables(np.zeros(len(behind)), np.full(len(behind), np.inf))
        builder.add_rows([(short, 1.0), (behind, -1.0)], MARGIN, np.inf)
        builder.add_cost(short, price)
        return np.zeros(0, np.int64)
    totals = builder.add_variables(np.zeros(len(labels)), np.full(len(labels), np.inf))
    builder.add_cost(totals, price)
    # Rows bound these variables from below alone, and the loss rises with them: they may stop at FLAT, where exponentials vanish.
    spread = builder.add_variables(np.full(len(behind), FLAT), np.zeros(len(behind)))
    builder.add_rows([(spread, 1.0), (behind, -1.0), (np.repeat(totals, classes - 1), 1.0)], 0.0, np.inf)
    right = builder.add_variables(np.full(len(labels), FLAT), np.zeros(len(labels)))
    builder.add_rows([(right, 1.0), (totals, 1.0)], 0.0, np.inf)
    builder.exponentials += [np.append(others, r) for others, r in zip(spread.reshape(len(labels), -1), right, strict=True)]
    return totals


def pay_targets(builder: ProgramBuilder, loss: str, outputs: Affine, targets: Floats, price: float) -> None:
    """Add the distance of (m,) outputs from (m,) targets: ``sum |o - t|`` (l1) or ``sum (o - t)^2`` (l2), multiplied by ``price``."""
    wrong = Affine(outputs.matrix, outputs.constant - targets, outputs.low - targets, outputs.high - targets)
    if loss == "l1":
        over, under = (builder.add_variables(np.zeros(len(wrong)), np.full(len(wrong), np.inf)) for _ in range(2))
        builder.add_rows([(over, 1.0), (under, -1.0), (wrong, -1.0)], 0.0, 0.0)
        builder.add_cost(over, price)
        builder.add_cost(under, price)
        return
    wrong = compressed(wrong, builder)
    error = builder.add_variables(np.full(len(wrong), -np.inf), np.full(len(wrong), np.inf))
    square = builder.add_variables(np.zeros(len(wrong)), np.full(len(wrong), np.inf))
    builder.add_rows([(error, 1.0), (wrong, -1.0)], 0.0, 0.0)
    builder.squares += [np.array(pair) for pair in zip(error, square, strict=True)]
    builder.add_cost(square, price)


def compressed(value: Affine, builder: ProgramBuilder) -> Affine:
    """A vector of the same Euclidean norm at every point, with at most one entry more than it has variables (by a QR decomposition)."""
    used = np.unique(value.matrix.indices)
    if len(value) <= len(used) + 1:
        return value
    whole = np.column_stack([wide(value.matrix, builder.count)[:, used].toarray(), value.constant])
    triangle: Any = np.linalg.qr(whole, mode="r")
    matrix = sparse.csr_matrix(triangle[:, :-1]).tocoo()
    rows = sparse.csr_matrix((matrix.data, (matrix.row, used[matrix.col])), shape=(len(triangle), builder.count))
    bounds = np.full(len(triangle), np.inf)
    return Affine(rows, triangle[:, -1], -bounds, bounds)


def leads(labels: Ints, classes: int) -> sparse.csr_matrix:
    """(N * (classes - 1), N * classes) sparse matrix that gives ``o_c - o_y`` of all classes c but the label y, for (N,) labels."""
    sample, other = np.nonzero(np.arange(classes)[None] != labels[:, None])
    count = len(sample)
    columns = np.concatenate([sample * classes + other, sample * classes + labels[sample]])
    numbers = np.repeat([1.0, -1.0], count), (np.tile(np.arange(count), 2), columns)
    return sparse.csr_matrix(numbers, shape=(count, classes * len(labels)))
