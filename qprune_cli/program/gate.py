"""ReLUs with gates, and maxima, as rows of a program.

For a value ``a`` with bounds ``L <= a <= U`` (``U+ = max(U, 0)``), its ReLU state ``z`` and its score ``s``, the value behind is ``h``.

valid (ours):  ``0 <= h <= s U+``, ``h <= z U+``, ``h <= a - (1 - z) L``, ``h >= a - (1 - s) U+``, with bounds that hold for every score
before. With binary s and z this is ``h = s * relu(a)`` exactly.

published:     ``h >= 0``, ``h <= z U+``, ``h >= a - (1 - s) U+``, ``h <= a - (1 - z) L - (1 - s) U+``,
with the bounds of the network before anything is cut. It is no gate: once scores before it fall, ``a`` may leave its bounds, and an
active unit can never go.

References:
    ElAraby, Wolf, Carvalho, "Identifying critical neurons in ANN architectures using mixed integer programming", 2020, arXiv:2002.07259
    (published); the valid gate and the cut ``relu(sum t) <= sum relu(t)`` are ours.
"""

from dataclasses import replace

import numpy as np
from scipy import sparse

from qprune_cli.program.draft import Draft, Value, wide
from qprune_cli.types import Floats, Ints

GATES = ("valid", "published")


def relu(draft: Draft, value: Value, scores: Ints | None, binary: bool, published: bool) -> Value:
    """A ReLU whose results are gated; entries that are fixed, or whose state is known, get no binary.

    Args:
        draft: the program so far.
        value: (m,) what the ReLU reads.
        scores: (m,) variable of the score of each entry, -1 for none; None where nothing is gated.
        binary: whether the states are binary.
        published: whose rows.
    """
    gated = np.full(len(value), -1) if scores is None else scores
    done = Outcome(len(value))
    theirs = (gated >= 0) & published
    if theirs.any():
        part = value.at(theirs)
        places = _published(draft, part, gated[theirs], binary)
        done.variables(np.flatnonzero(theirs), places, np.zeros(len(part)), np.maximum(part.high, 0))
    known = ~theirs & (value.is_fixed | (value.high <= 0))
    constant = np.where(value.is_fixed, np.maximum(value.constant, 0), 0.0)
    done.scaled(np.flatnonzero(known), constant[known], gated[known])
    through = ~theirs & ~known & (value.low >= 0) & (gated < 0)
    done.copied(np.flatnonzero(through), value)
    live = np.flatnonzero(~theirs & ~known & ~through)
    if len(live):
        part = value.at(live)
        places = draft.variables(np.zeros(len(live)), part.high)
        _never_more(draft, places, part)
        _hold(draft, places, draft.named(part), gated[live], binary)
        done.variables(live, places, np.zeros(len(live)), part.high)
    return done.value(draft)


def gate(draft: Draft, value: Value, scores: Ints, published: bool) -> Value:
    """A gate with no ReLU before it: ``h = s a`` for binary s; published, ``h = a - (1 - s) U``."""
    done = Outcome(len(value))
    free = scores < 0
    done.copied(np.flatnonzero(free), value)
    fixed = ~free & value.is_fixed & (not published)
    done.scaled(np.flatnonzero(fixed), value.constant[fixed], scores[fixed])
    live = np.flatnonzero(~free & ~fixed)
    if len(live):
        part, own = value.at(live), scores[live]
        low, high = np.minimum(part.low, 0), np.maximum(part.high, 0)
        if published:
            places = draft.variables(np.full(len(live), -np.inf), np.full(len(live), np.inf))
            draft.require([(places, 1.0), (part, -1.0), (own, -part.high)], -part.high, -part.high)
            low, high = part.low, part.high
        else:
            places = draft.variables(low, high)
            draft.require([(places, 1.0), (own, -high)], -np.inf, 0.0)
            draft.require([(places, 1.0), (own, -low)], 0.0, np.inf)
            draft.require([(places, 1.0), (part, -1.0), (own, -low)], -np.inf, -low)
            draft.require([(places, 1.0), (part, -1.0), (own, -high)], -high, np.inf)
        done.variables(live, places, low, high)
    return done.value(draft)


def largest(draft: Draft, value: Value, windows: Ints, binary: bool) -> Value:
    """Maxima over windows; one entry that is never smaller than the others is the maximum, and needs no binary.

    Args:
        draft: the program so far.
        value: (m,) what is read.
        windows: (outputs, k) places, -1 for none.
        binary: whether the choice is binary.
    """
    done = Outcome(len(windows))
    low, high = np.append(value.low, -np.inf)[windows], np.append(value.high, -np.inf)[windows]
    floor = low.max(axis=1)
    winner = np.where(low == floor[:, None], high, -np.inf).argmax(axis=1)
    rivals = (windows >= 0) & (high > floor[:, None])
    rivals[np.arange(len(windows)), winner] = True
    score, factor = _multiples(value)
    for k, window in enumerate(windows):
        places = window[rivals[k]]
        if len(places) == 1:
            done.copied_from(k, value, int(places[0]))
        elif score[places[0]] >= 0 and (score[places] == score[places[0]]).all():  # c_i s: the largest c is the maximum
            done.copied_from(k, value, int(places[factor[places].argmax()]))
        else:
            _choose(draft, done, k, value.at(places), floor[k], binary)
    return done.value(draft)


def _choose(draft: Draft, done: "Outcome", k: int, part: Value, floor: float, binary: bool) -> None:
    """A maximum of several entries any of which may be the largest."""
    (place,) = draft.variables(np.array([floor]), np.array([part.high.max()]))
    chosen = draft.variables(np.zeros(len(part)), np.ones(len(part)), binary)
    most = np.array([np.delete(part.high, i).max() for i in range(len(part))])
    repeated = np.full(len(part), place)
    draft.require([(repeated, 1.0), (part, -1.0)], 0.0, np.inf)
    reach = np.maximum(most - part.low, 0)
    draft.require([(repeated, 1.0), (part, -1.0), (chosen, reach)], -np.inf, reach)
    draft.total(chosen, np.ones(len(chosen)), 1.0, 1.0)
    done.variables(np.array([k]), np.array([place]), np.array([floor]), np.array([part.high.max()]))


def _multiples(value: Value) -> tuple[Ints, Floats]:
    """(m,) the one variable that an entry is a positive multiple of, -1 where it is anything else; (m,) the factor."""
    one = np.flatnonzero((np.diff(value.matrix.indptr) == 1) & (value.constant == 0))
    starts = value.matrix.indptr[one]
    score, factor = np.full(len(value), -1), np.zeros(len(value))
    score[one], factor[one] = value.matrix.indices[starts], value.matrix.data[starts]
    score[factor <= 0] = -1
    return score, factor


def _published(draft: Draft, value: Value, scores: Ints, binary: bool) -> Ints:
    """The published rows; returns the variables behind the gate."""
    positive, states = np.maximum(value.high, 0), _states(draft, value, binary)
    value = draft.named(value)
    places = draft.variables(np.zeros(len(value)), positive)
    draft.require([(places, 1.0), (states, -positive)], -np.inf, 0.0)
    draft.require([(places, 1.0), (value, -1.0), (scores, -positive)], -positive, np.inf)
    draft.require([(places, 1.0), (value, -1.0), (states, -value.low), (scores, -positive)], -np.inf, -value.low - positive)
    return places


def _states(draft: Draft, value: Value, binary: bool) -> Ints:
    """A state for each entry, fixed where the bounds say it."""
    low, high = (value.low >= 0).astype(float), (value.high > 0).astype(float)
    states = np.empty(len(value), np.int64)
    open_ = low < high
    states[open_] = draft.variables(low[open_], high[open_], binary)
    states[~open_] = draft.variables(low[~open_], np.maximum(low, high)[~open_])
    return states


def _hold(draft: Draft, places: Ints, value: Value, scores: Ints, binary: bool) -> None:
    """The valid rows for entries that are neither fixed nor known to be 0."""
    gated, positive = scores >= 0, value.high
    own = np.maximum(scores, 0)
    if gated.any():
        draft.require([(places[gated], 1.0), (own[gated], -positive[gated])], -np.inf, 0.0)
        part = value.at(gated)
        draft.require([(places[gated], 1.0), (part, -1.0), (own[gated], -positive[gated])], -positive[gated], np.inf)
    if not gated.all():
        draft.require([(places[~gated], 1.0), (value.at(~gated), -1.0)], 0.0, np.inf)
    open_ = value.low < 0
    if not open_.all():
        draft.require([(places[~open_], 1.0), (value.at(~open_), -1.0)], -np.inf, 0.0)
    if open_.any():
        part, low = value.at(open_), value.low[open_]
        states = draft.variables(np.zeros(len(part)), np.ones(len(part)), binary)
        draft.require([(places[open_], 1.0), (states, -positive[open_])], -np.inf, 0.0)
        draft.require([(places[open_], 1.0), (part, -1.0), (states, -low)], -np.inf, -low)


def _never_more(draft: Draft, places: Ints, value: Value) -> None:
    """The cut, for entries whose state is open."""
    open_ = value.low < 0
    if open_.any():
        draft.require([(places[open_], 1.0), (_rising(draft, value.at(open_)), -1.0)], -np.inf, 0.0)


def _rising(draft: Draft, value: Value) -> Value:
    """``sum_j relu(w_j x_j) + relu(constant)``, which is never below the ReLU of the sum; by its chord where x_j has both signs.

    Without this row a relaxed ReLU could be active with all that it reads gone.
    """
    matrix = wide(value.matrix, draft.count).tocsr(copy=True)
    low, high = draft.lower[matrix.indices], draft.upper[matrix.indices]
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


class Outcome:
    """The entries of a new value, filled in kind by kind."""

    def __init__(self, length: int) -> None:
        self.rows: list[Ints] = []
        self.columns: list[Ints] = []
        self.numbers: list[Floats] = []
        self.constant, self.low, self.high = np.zeros(length), np.zeros(length), np.zeros(length)

    def variables(self, rows: Ints, places: Ints, low: Floats, high: Floats) -> None:
        """Entries that are variables."""
        self._add(rows, places, np.ones(len(rows)))
        self.low[rows], self.high[rows] = low, high

    def scaled(self, rows: Ints, numbers: Floats, scores: Ints) -> None:
        """Entries that are numbers, times a score where there is one: linear and exact."""
        gated = (scores >= 0) & (numbers != 0)
        self._add(rows[gated], scores[gated], numbers[gated])
        self.constant[rows[~gated]] = np.where(scores[~gated] >= 0, 0.0, numbers[~gated])
        self.low[rows] = np.where(scores >= 0, np.minimum(numbers, 0), numbers)
        self.high[rows] = np.where(scores >= 0, np.maximum(numbers, 0), numbers)

    def copied(self, rows: Ints, value: Value) -> None:
        """Entries that stay as they are."""
        part = value.at(rows).matrix.tocoo()
        self._add(rows[part.row], part.col, part.data)
        self.constant[rows], self.low[rows], self.high[rows] = value.constant[rows], value.low[rows], value.high[rows]

    def copied_from(self, row: int, value: Value, place: int) -> None:
        """One entry that is another of a value."""
        start, stop = value.matrix.indptr[place : place + 2]
        self._add(np.full(stop - start, row), value.matrix.indices[start:stop], value.matrix.data[start:stop])
        self.constant[row], self.low[row], self.high[row] = value.constant[place], value.low[place], value.high[place]

    def value(self, draft: Draft) -> Value:
        """All of them."""
        columns = [np.concatenate(part) if part else np.zeros(0) for part in (self.rows, self.columns, self.numbers)]
        matrix = sparse.csr_matrix((columns[2], (columns[0].astype(int), columns[1].astype(int))), shape=(len(self.constant), draft.count))
        return Value(matrix, self.constant, self.low, self.high)

    def _add(self, rows: Ints, columns: Ints, numbers: Floats) -> None:
        self.rows.append(np.asarray(rows))
        self.columns.append(np.asarray(columns))
        self.numbers.append(np.asarray(numbers, float))
