"""ReLUs with gates as rows of a program.

A ReLU reads ``a`` with bounds ``L <= a <= U`` (``U+ = max(U, 0)``); ``z`` is its state, ``s`` its score, and ``h`` its gated result.

valid (ours):  ``0 <= h <= s U+``, ``h <= z U+``, ``h <= a - (1 - z) L``, ``h >= a - (1 - s) U+``, with bounds that hold for all scores of
earlier layers. With binary s and z this is ``h = s * relu(a)`` exactly.

published:     ``h >= 0``, ``h <= z U+``, ``h >= a - (1 - s) U+``, ``h <= a - (1 - z) L - (1 - s) U+``,
with the bounds of the network before anything is pruned. It is no gate: once scores of earlier layers fall, ``a`` may leave its bounds,
and a unit that is always active can never be silenced.

References:
    ElAraby, Wolf, Carvalho, "Identifying critical neurons in ANN architectures using mixed integer programming", 2020, arXiv:2002.07259
    (published); the valid gate and the cut ``relu(sum t) <= sum relu(t)`` are ours.
"""

from dataclasses import replace

import numpy as np
from scipy import sparse

from qprune_cli.program.affine import Affine, wide
from qprune_cli.program.assembler import AffineAssembler
from qprune_cli.program.builder import ProgramBuilder
from qprune_cli.types import Floats, Ints

GATES = ("valid", "published")


def relu(builder: ProgramBuilder, value: Affine, scores: Ints | None, binary: bool, published: bool) -> Affine:
    """Add a ReLU whose results are gated; entries that are numbers, or whose sign is known, get no state.

    Args:
        builder: the program so far.
        value: (m,) input of the ReLU.
        scores: (m,) variable of the score of each entry, -1 for none; None where no entry is gated.
        binary: whether the states are binary; relaxed otherwise.
        published: whether gated entries get the published rows; the valid ones otherwise.

    Returns:
        (m,) gated results.
    """
    gated = np.full(len(value), -1) if scores is None else scores
    result = AffineAssembler(len(value))
    as_published = (gated >= 0) & published
    if as_published.any():
        part = value.at(as_published)
        variables = _published(builder, part, gated[as_published], binary)
        result.set_variables(np.flatnonzero(as_published), variables, np.zeros(len(part)), np.maximum(part.high, 0))
    constant = ~as_published & (value.is_fixed | (value.high <= 0))
    numbers = np.where(value.is_fixed, np.maximum(value.constant, 0), 0.0)
    result.set_numbers(np.flatnonzero(constant), numbers[constant], gated[constant])
    active = ~as_published & ~constant & (value.low >= 0) & (gated < 0)
    result.set_same(np.flatnonzero(active), value)
    live = np.flatnonzero(~as_published & ~constant & ~active)
    if len(live):
        part = value.at(live)
        variables = builder.add_variables(np.zeros(len(live)), part.high)
        _cut(builder, variables, part)
        _valid(builder, variables, builder.as_variables(part), gated[live], binary)
        result.set_variables(live, variables, np.zeros(len(live)), part.high)
    return result.build(builder.count)


def gate(builder: ProgramBuilder, value: Affine, scores: Ints, published: bool) -> Affine:
    """Add a gate with no ReLU before it: ``h = s a`` for binary s; published, ``h = a - (1 - s) U``.

    Args:
        builder: the program so far.
        value: (m,) values to gate.
        scores: (m,) variable of the score of each entry, -1 for none.
        published: whether to add the published rows; the valid ones otherwise.

    Returns:
        (m,) gated values.
    """
    result = AffineAssembler(len(value))
    free = scores < 0
    result.set_same(np.flatnonzero(free), value)
    fixed = ~free & value.is_fixed & (not published)
    result.set_numbers(np.flatnonzero(fixed), value.constant[fixed], scores[fixed])
    live = np.flatnonzero(~free & ~fixed)
    if len(live):
        part, part_scores = value.at(live), scores[live]
        low, high = np.minimum(part.low, 0), np.maximum(part.high, 0)
        if published:
            variables = builder.add_variables(np.full(len(live), -np.inf), np.full(len(live), np.inf))
            builder.add_rows([(variables, 1.0), (part, -1.0), (part_scores, -part.high)], -part.high, -part.high)
            low, high = part.low, part.high
        else:
            variables = builder.add_variables(low, high)
            builder.add_rows([(variables, 1.0), (part_scores, -high)], -np.inf, 0.0)
            builder.add_rows([(variables, 1.0), (part_scores, -low)], 0.0, np.inf)
            builder.add_rows([(variables, 1.0), (part, -1.0), (part_scores, -low)], -np.inf, -low)
            builder.add_rows([(variables, 1.0), (part, -1.0), (part_scores, -high)], -high, np.inf)
        result.set_variables(live, variables, low, high)
    return result.build(builder.count)


def _published(builder: ProgramBuilder, value: Affine, scores: Ints, binary: bool) -> Ints:
    """Add the published rows for (m,) entries; returns the (m,) variables of the gated results."""
    positive, states = np.maximum(value.high, 0), _states(builder, value, binary)
    value = builder.as_variables(value)
    variables = builder.add_variables(np.zeros(len(value)), positive)
    builder.add_rows([(variables, 1.0), (states, -positive)], -np.inf, 0.0)
    builder.add_rows([(variables, 1.0), (value, -1.0), (scores, -positive)], -positive, np.inf)
    builder.add_rows([(variables, 1.0), (value, -1.0), (states, -value.low), (scores, -positive)], -np.inf, -value.low - positive)
    return variables


def _states(builder: ProgramBuilder, value: Affine, binary: bool) -> Ints:
    """Add a state for each entry, fixed where the bounds decide it; returns the (m,) variables."""
    low, high = (value.low >= 0).astype(float), (value.high > 0).astype(float)
    states = np.empty(len(value), np.int64)
    open_ = low < high
    states[open_] = builder.add_variables(low[open_], high[open_], binary)
    states[~open_] = builder.add_variables(low[~open_], np.maximum(low, high)[~open_])
    return states


def _valid(builder: ProgramBuilder, variables: Ints, value: Affine, scores: Ints, binary: bool) -> None:
    """Add the valid rows for entries that are neither numbers nor always 0; their results are (m,) variables."""
    gated, positive = scores >= 0, value.high
    scores_or_0 = np.maximum(scores, 0)
    if gated.any():
        builder.add_rows([(variables[gated], 1.0), (scores_or_0[gated], -positive[gated])], -np.inf, 0.0)
        part = value.at(gated)
        builder.add_rows([(variables[gated], 1.0), (part, -1.0), (scores_or_0[gated], -positive[gated])], -positive[gated], np.inf)
    if not gated.all():
        builder.add_rows([(variables[~gated], 1.0), (value.at(~gated), -1.0)], 0.0, np.inf)
    open_ = value.low < 0
    if not open_.all():
        builder.add_rows([(variables[~open_], 1.0), (value.at(~open_), -1.0)], -np.inf, 0.0)
    if open_.any():
        part, low = value.at(open_), value.low[open_]
        states = builder.add_variables(np.zeros(len(part)), np.ones(len(part)), binary)
        builder.add_rows([(variables[open_], 1.0), (states, -positive[open_])], -np.inf, 0.0)
        builder.add_rows([(variables[open_], 1.0), (part, -1.0), (states, -low)], -np.inf, -low)


def _cut(builder: ProgramBuilder, variables: Ints, value: Affine) -> None:
    """Add the cut ``relu(sum t) <= sum relu(t)`` for entries whose state is open."""
    open_ = value.low < 0
    if open_.any():
        builder.add_rows([(variables[open_], 1.0), (_relu_of_terms(builder, value.at(open_)), -1.0)], -np.inf, 0.0)


def _relu_of_terms(builder: ProgramBuilder, value: Affine) -> Affine:
    """``sum_j relu(w_j x_j) + relu(constant)``, which is never below the ReLU of the sum.

    A term whose variable may have both signs is replaced by its chord, which lies above it. Without this row a relaxed ReLU could be
    active where all that it reads is pruned.
    """
    matrix = wide(value.matrix, builder.count).tocsr(copy=True)
    low, high = builder.lower[matrix.indices], builder.upper[matrix.indices]
    ends = matrix.data * low, matrix.data * high
    least, most = np.minimum(*ends), np.maximum(*ends)
    rises = np.where(least >= 0, 1.0, np.where(most <= 0, 0.0, most / np.maximum(most - least, 1e-300)))
    bounded = np.isfinite(least) & np.isfinite(most)
    rises = np.where(bounded, rises, 1.0)
    shift = np.where((least < 0) & (most > 0) & bounded, -rises * least, 0.0)
    rows = np.repeat(np.arange(len(value)), np.diff(matrix.indptr))
    constant: Floats = np.maximum(value.constant, 0) + np.bincount(rows, weights=shift, minlength=len(value)).astype(float)
    matrix.data = matrix.data * rises
    return replace(value, matrix=sparse.csr_matrix(matrix), constant=constant)
