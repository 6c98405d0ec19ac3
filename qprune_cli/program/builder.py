"""Builds a mixed integer program step by step: variables, rows and costs are added, and affine maps get bounds."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from qprune_cli.program.affine import Affine, selection, wide
from qprune_cli.program.program import Program
from qprune_cli.types import Bools, Floats, Ints


class ProgramBuilder:
    """Builds a program; variables, rows and costs are only ever added, in place.

    Attributes:
        count: number of variables so far.
        constant: constant term of the objective.
        squares: pairs of variables, as in ``Program``.
        exponentials: sets of variables, as in ``Program``.
        products: triples of variables, as in ``Program``.
    """

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

    def add_variables(self, low: Floats, high: Floats, integer: bool = False) -> Ints:
        """Add variables with (k,) bounds; returns their (k,) numbers."""
        numbers = np.arange(self.count, self.count + len(low))
        self.count += len(low)
        self._lower.append(np.asarray(low, float))
        self._upper.append(np.asarray(high, float))
        self._integer.append(np.full(len(low), integer))
        return numbers

    def affine(self, variables: Ints) -> Affine:
        """(k,) variables as an affine vector of their values, with their bounds."""
        return Affine(selection(variables, self.count), np.zeros(len(variables)), self.lower[variables], self.upper[variables])

    @property
    def lower(self) -> Floats:
        """(v,) lower bounds of the variables so far."""
        self._lower = [np.concatenate(self._lower)] if self._lower else [np.zeros(0)]
        return self._lower[0]

    @property
    def upper(self) -> Floats:
        """(v,) upper bounds of the variables so far."""
        self._upper = [np.concatenate(self._upper)] if self._upper else [np.zeros(0)]
        return self._upper[0]

    def add_rows(self, terms: Sequence[tuple[Ints | Affine, Floats | float]], low: Floats | float, high: Floats | float) -> None:
        """Add k rows ``low <= sum_j factor_j * term_j <= high``.

        Args:
            terms: terms with their factors; a term is (k,) variables or an affine vector, a factor one number or (k,) numbers.
            low: one lower bound, or (k,).
            high: one upper bound, or (k,).
        """
        length = len(terms[0][0])
        total = sparse.csr_matrix((length, self.count))
        shift = np.zeros(length)
        for term, factor in terms:
            affine = term if isinstance(term, Affine) else None
            matrix = wide(affine.matrix, self.count) if affine is not None else selection(np.asarray(term), self.count)
            factors = np.broadcast_to(np.asarray(factor, float), (length,))
            total = total + sparse.diags(factors) @ matrix
            if affine is not None:
                shift = shift + factors * affine.constant
        self._rows.append(sparse.csr_matrix(total))
        self._low.append(np.broadcast_to(np.asarray(low, float), (length,)) - shift)
        self._high.append(np.broadcast_to(np.asarray(high, float), (length,)) - shift)

    def add_row(self, variables: Ints, weights: Floats, low: float, high: float) -> None:
        """Add one row ``low <= weights . variables <= high`` for (k,) variables and weights."""
        row = sparse.csr_matrix((weights, (np.zeros(len(variables), int), variables)), shape=(1, self.count))
        self._rows.append(row)
        self._low.append(np.array([low]))
        self._high.append(np.array([high]))

    def add_cost(self, variables: Ints, price: Floats | float) -> None:
        """Add ``price . variables`` to the objective, for (k,) variables and one price or (k,) prices."""
        self._cost.append((variables, np.broadcast_to(np.asarray(price, float), variables.shape)))

    def mark(self) -> int:
        """A mark behind the rows so far, for ``build`` with the rows behind it alone."""
        return len(self._rows)

    def build(self, scores: Ints, outputs: Affine, since: int = 0) -> Program:
        """The program so far, or a relaxation of it with the rows behind a mark alone.

        Args:
            scores: (n,) variables that are scores.
            outputs: (m,) outputs of the network.
            since: a mark (see ``mark``); 0 for all rows.
        """
        cost = np.zeros(self.count)
        for variables, price in self._cost:
            np.add.at(cost, variables, price)
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

    def linear_map(self, matrices: Sequence[sparse.csr_matrix], values: Sequence[Affine], constant: Floats) -> Affine:
        """``sum_j matrices[j] @ values[j] + constant``, with bounds by interval arithmetic over the operands.

        An operand gets variables of its own where that leaves fewer numbers in the result.

        Args:
            matrices: sparse (m, k_j), one for each operand.
            values: the operands, (k_j,) each.
            constant: (m,) constant terms.
        """
        total, shift, low, high = sparse.csr_matrix((len(constant), 0)), constant, constant, constant
        for matrix, value in zip(matrices, values, strict=True):
            product = matrix @ value.matrix
            if product.nnz > matrix.nnz + value.matrix.nnz:
                value = self.as_variables(value)
                product = matrix @ value.matrix
            up, down = matrix.maximum(0), matrix.minimum(0)
            low, high = low + up @ value.low + down @ value.high, high + up @ value.high + down @ value.low
            total, shift = wide(total, self.count) + wide(product, self.count), shift + matrix @ value.constant
        total = sparse.csr_matrix(total)
        total.eliminate_zeros()
        return Affine(total, shift, low, high)

    def bounds(self, value: Affine) -> tuple[Floats, Floats]:
        """(m,) lower and (m,) upper bounds of an affine vector that follow from the bounds of the variables."""
        matrix = wide(value.matrix, self.count)
        up, down = matrix.maximum(0), matrix.minimum(0)
        low, high = up @ self.lower + down @ self.upper, up @ self.upper + down @ self.lower
        return low + value.constant, high + value.constant

    def as_variables(self, value: Affine) -> Affine:
        """The same vector with a new variable for each entry; entries that have one variable already, or none, stay."""
        new = np.flatnonzero(np.diff(value.matrix.indptr) > 1)
        low, high = self.bounds(value.at(new))
        variables = self.add_variables(low, high)
        self.add_rows([(value.at(new), 1.0), (variables, -1.0)], 0.0, 0.0)
        old = sparse.diags((np.diff(value.matrix.indptr) <= 1).astype(float)) @ wide(value.matrix, self.count)
        fresh = sparse.csr_matrix((np.ones(len(new)), (new, variables)), shape=(len(value), self.count))
        constant = value.constant.copy()
        constant[new] = 0.0
        return Affine(sparse.csr_matrix(old + fresh), constant, value.low, value.high)
