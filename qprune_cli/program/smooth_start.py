"""Gives SCIP the optimum of a smooth convex program as a start, together with rows that prove it.

With one layer and continuous scores, the softmax loss is a smooth convex function of the scores in a box. Quasi-Newton steps find its
minimum in moments, where SCIP would need many cutting planes. The tangents of the loss at that point are added as rows: by the conditions
of optimality, the linear program with these rows has its minimum at the same point. So SCIP confirms it at once, or goes on where it is
not exact.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import optimize, sparse

from qprune_cli.program.loss import FLAT, leads
from qprune_cli.program.program import Program
from qprune_cli.types import Floats, Ints

STEPS = 2000  # quasi-Newton steps at most
ROOM = 1e-6  # distance of the losses of the start from the cuts, so that the solver's tolerance accepts it


def with_smooth_optimum(program: Program, totals: Ints, columns: Floats, base: Floats, labels: Ints) -> Program:
    """Add the optimum of a one-layer softmax program as its start, and the tangents of the losses there as rows.

    Args:
        program: the program that ``layer_program`` makes.
        totals: (N,) variables of the losses of the samples.
        columns: (m, n) what each filter adds to each of the m = N * classes logits.
        base: (m,) logits without any filter.
        labels: (N,) numbers of the right classes.
    """
    lead = leads(labels, len(base) // len(labels))  # gives the logits of the other classes, less that of the label
    slopes, shift = np.asarray(lead @ columns), lead @ base
    price, rewards = float(program.cost[totals[0]]), program.cost[program.scores]

    def losses(scores: Floats) -> tuple[Floats, Floats]:
        """(N,) losses, and (N, classes - 1) shares of the other classes in them."""
        behind = (shift + slopes @ scores).reshape(len(labels), -1)
        largest = np.maximum(behind.max(axis=1), 0)
        total = largest + np.log(np.exp(-largest) + np.exp(behind - largest[:, None]).sum(axis=1))
        return total, np.exp(behind - total[:, None])

    def objective(scores: Floats) -> tuple[float, Floats]:
        total, shares = losses(scores)
        return price * float(total.sum()) + float(rewards @ scores), price * slopes.T @ shares.reshape(-1) + rewards

    minimize: Any = optimize.minimize
    bounds = np.column_stack([program.lower, program.upper])[program.scores]
    scores = np.clip(minimize(objective, bounds[:, 1], jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS}).x, *bounds.T)
    total, shares = losses(scores)
    spread = sparse.csr_matrix((shares.reshape(-1), (np.repeat(np.arange(len(labels)), shares.shape[1]), np.arange(shares.size))))
    tangents = np.asarray(spread @ slopes)
    weights = np.hstack([-tangents, np.eye(len(labels))])
    row, column = np.nonzero(weights)
    variables = np.concatenate([program.scores, totals])[column]
    cuts = sparse.csr_matrix((weights[row, column], (row, variables)), shape=(len(labels), len(program.cost)))
    start = np.full(len(program.cost), np.nan)
    start[program.scores], start[totals] = scores, total + ROOM
    behind = (shift + slopes @ scores).reshape(len(labels), -1) - start[totals][:, None]
    for group, others, loss in zip(program.exponentials, behind, start[totals], strict=True):
        start[group] = np.maximum(np.append(others, -loss), FLAT)
    return replace(
        program,
        rows=sparse.vstack([program.rows, cuts]).tocsr(),
        low=np.concatenate([program.low, total - tangents @ scores]),
        high=np.concatenate([program.high, np.full(len(labels), np.inf)]),
        start=start,
    )
