"""A mixed integer program: variables with bounds, sparse rows, and the two convex functions that losses need."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from qprune_cli.types import Bools, Floats, Ints


@dataclass(frozen=True)
class Program:
    """Minimise ``cost . x`` subject to ``low <= rows x <= high``, bounds, and integrality.

    Arrays alone, so that it travels to other processes.

    Attributes:
        cost: (v,) objective.
        lower: (v,) bounds of the variables.
        upper: (v,)
        integer: (v,) True where the variable is 0 or 1.
        rows: (r, v) sparse.
        low: (r,) bounds of the rows.
        high: (r,)
        squares: (k, 2) pairs of variables ``q >= z ** 2``.
        exponentials: sets of variables u with ``sum exp(u) <= 1``.
        products: (k, 3) triples of variables ``p = a * b``.
        scores: (n,) the variables that are scores.
        outputs: (m, v) sparse, what the network gives in the program: ``outputs x + outputs_constant``.
        outputs_constant: (m,)
        constant: what the objective holds beside.
        start: (v,) a point to begin with, where one is known.
    """

    cost: Floats
    lower: Floats
    upper: Floats
    integer: Bools
    rows: sparse.csr_matrix
    low: Floats
    high: Floats
    squares: Ints
    exponentials: tuple[Ints, ...]
    products: Ints
    scores: Ints
    outputs: sparse.csr_matrix
    outputs_constant: Floats
    constant: float = 0.0
    start: Floats | None = None

    def relaxed(self) -> "Program":
        """The same with no variable integer."""
        return replace(self, integer=np.zeros_like(self.integer))

    def at(self, scores: Floats) -> "Program":
        """The same with its scores fixed."""
        lower, upper = self.lower.copy(), self.upper.copy()
        lower[self.scores] = upper[self.scores] = scores
        return replace(self, lower=lower, upper=upper, start=None)

    def outputs_of(self, x: Floats) -> Floats:
        """(m,) what the network gives at a point of the program."""
        return np.asarray(self.outputs @ x + self.outputs_constant)


@dataclass(frozen=True)
class Value:
    """A vector of affine functions of the variables, with bounds that hold at every feasible point.

    Attributes:
        matrix: (m, v) sparse; v is the number of variables when it was made.
        constant: (m,)
        low: (m,)
        high: (m,)
    """

    matrix: sparse.csr_matrix
    constant: Floats
    low: Floats
    high: Floats

    @staticmethod
    def fixed(values: Floats, slack: float = 0.0) -> "Value":
        """Numbers; ``slack`` widens their bounds."""
        return Value(sparse.csr_matrix((len(values), 0)), values, values - slack, values + slack)

    @property
    def is_fixed(self) -> Bools:
        """(m,) True where no variable is in it."""
        return np.asarray(np.diff(self.matrix.indptr) == 0)

    def __len__(self) -> int:
        return len(self.constant)

    def at(self, places: Ints | Bools) -> "Value":
        """Some of its entries."""
        return Value(self.matrix[places], self.constant[places], self.low[places], self.high[places])


class Draft:
    """A program that is being written; rows and variables are only ever added."""

    def __init__(self) -> None:
        self.count = 0
        self._lower: list[Floats] = []
        self._upper: list[Floats] = []
        self._integer: list[Bools] = []
        self._rows: list[sparse.csr_matrix] = []
        self._low: list[Floats] = []
        self._high: list[Floats] = []
        self._cost: list[tuple[Ints, Floats]] = []
        self.constant = 0.0
        self.squares: list[Ints] = []
        self.exponentials: list[Ints] = []
        self.products: list[Ints] = []

    def variables(self, low: Floats, high: Floats, integer: bool = False) -> Ints:
        """Add variables, one for each bound; returns their places."""
        places = np.arange(self.count, self.count + len(low))
        self.count += len(low)
        self._lower.append(np.asarray(low, float))
        self._upper.append(np.asarray(high, float))
        self._integer.append(np.full(len(low), integer))
        return places

    def value(self, places: Ints) -> Value:
        """Variables as a value."""
        matrix = sparse.csr_matrix((np.ones(len(places)), (np.arange(len(places)), places)), shape=(len(places), self.count))
        return Value(matrix, np.zeros(len(places)), self.lower[places], self.upper[places])

    @property
    def lower(self) -> Floats:
        """(v,) lower bounds so far."""
        self._lower = [np.concatenate(self._lower)] if self._lower else [np.zeros(0)]
        return self._lower[0]

    @property
    def upper(self) -> Floats:
        """(v,) upper bounds so far."""
        self._upper = [np.concatenate(self._upper)] if self._upper else [np.zeros(0)]
        return self._upper[0]

    def require(self, terms: Sequence[tuple[Ints | Value, Floats | float]], low: Floats | float, high: Floats | float) -> None:
        """Add rows ``low <= sum of factor * term <= high``; a term is a list of variables or a value, a factor one number for each row."""
        length = len(terms[0][0])
        total = sparse.csr_matrix((length, self.count))
        shift = np.zeros(length)
        for term, factor in terms:
            value = term if isinstance(term, Value) else None
            matrix = wide(value.matrix, self.count) if value is not None else _picked(np.asarray(term), self.count)
            by = np.broadcast_to(np.asarray(factor, float), (length,))
            total = total + sparse.diags(by) @ matrix
            if value is not None:
                shift = shift + by * value.constant
        self._rows.append(sparse.csr_matrix(total))
        self._low.append(np.broadcast_to(np.asarray(low, float), (length,)) - shift)
        self._high.append(np.broadcast_to(np.asarray(high, float), (length,)) - shift)

    def total(self, places: Ints, weights: Floats, low: float, high: float) -> None:
        """Add one row: ``low <= weights . places <= high``."""
        row = sparse.csr_matrix((weights, (np.zeros(len(places), int), places)), shape=(1, self.count))
        self._rows.append(row)
        self._low.append(np.array([low]))
        self._high.append(np.array([high]))

    def pay(self, places: Ints, price: Floats | float) -> None:
        """Add to the objective."""
        self._cost.append((places, np.broadcast_to(np.asarray(price, float), places.shape)))

    def mark(self) -> int:
        """A place between the rows."""
        return len(self._rows)

    def program(self, scores: Ints, outputs: Value, since: int = 0) -> Program:
        """The finished program, or with the rows since a mark alone a relaxation of it.

        Args:
            scores: variables that are scores.
            outputs: what the network gives, to be compared with the network itself.
            since: see ``mark``.
        """
        cost = np.zeros(self.count)
        for places, price in self._cost:
            np.add.at(cost, places, price)
        rows = sparse.vstack([wide(part, self.count) for part in self._rows[since:]] or [sparse.csr_matrix((0, self.count))]).tocsr()
        return Program(
            cost=cost,
            lower=self.lower,
            upper=self.upper,
            integer=np.concatenate(self._integer),
            rows=rows,
            low=np.concatenate(self._low[since:] or [np.zeros(0)]),
            high=np.concatenate(self._high[since:] or [np.zeros(0)]),
            squares=np.array(self.squares, np.int64).reshape(-1, 2),
            exponentials=tuple(self.exponentials),
            products=np.array(self.products, np.int64).reshape(-1, 3),
            scores=scores,
            outputs=wide(outputs.matrix, self.count),
            outputs_constant=outputs.constant,
            constant=self.constant,
        )

    def linear(self, matrices: Sequence[sparse.csr_matrix], values: Sequence[Value], constant: Floats) -> Value:
        """``sum_j matrices[j] @ values[j] + constant``, with bounds by interval arithmetic over the operands.

        Where new variables for an operand leave fewer numbers in the rows behind the map, it gets them.
        """
        total, shift, low, high = sparse.csr_matrix((len(constant), 0)), constant, constant, constant
        for matrix, value in zip(matrices, values, strict=True):
            product = matrix @ value.matrix
            if product.nnz > matrix.nnz + value.matrix.nnz:
                value = self.named(value)
                product = matrix @ value.matrix
            up, down = matrix.maximum(0), matrix.minimum(0)
            low, high = low + up @ value.low + down @ value.high, high + up @ value.high + down @ value.low
            total, shift = wide(total, self.count) + wide(product, self.count), shift + matrix @ value.constant
        total = sparse.csr_matrix(total)
        total.eliminate_zeros()
        return Value(total, shift, low, high)

    def box(self, value: Value) -> tuple[Floats, Floats]:
        """Bounds of a value that those of the variables give."""
        matrix = wide(value.matrix, self.count)
        up, down = matrix.maximum(0), matrix.minimum(0)
        low, high = up @ self.lower + down @ self.upper, up @ self.upper + down @ self.lower
        return low + value.constant, high + value.constant

    def named(self, value: Value) -> Value:
        """A value as variables of its own; entries that are one variable already, or fixed, stay."""
        new = np.flatnonzero(np.diff(value.matrix.indptr) > 1)
        low, high = self.box(value.at(new))
        places = self.variables(low, high)
        self.require([(value.at(new), 1.0), (places, -1.0)], 0.0, 0.0)
        old = sparse.diags((np.diff(value.matrix.indptr) <= 1).astype(float)) @ wide(value.matrix, self.count)
        fresh = sparse.csr_matrix((np.ones(len(new)), (new, places)), shape=(len(value), self.count))
        constant = value.constant.copy()
        constant[new] = 0.0
        return Value(sparse.csr_matrix(old + fresh), constant, value.low, value.high)


def wide(matrix: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """The same rows for more variables."""
    return sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], count))


def _picked(places: Ints, count: int) -> sparse.csr_matrix:
    """Rows that each pick one variable."""
    return sparse.csr_matrix((np.ones(len(places)), (np.arange(len(places)), places)), shape=(len(places), count))
