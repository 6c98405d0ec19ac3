"""The optimum of a convex program by a smooth method, told to SCIP together with its proof.

With one layer and continuous scores, softmax is a smooth convex function of the scores in a box. Quasi-Newton steps find its minimum in
moments, where SCIP would cut its way there. The tangents of the loss at that point are added as rows: by the conditions of optimality the
linear program that they leave has its minimum at the same point, so SCIP confirms it at once, or goes on where it is not exact.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import optimize, sparse

from qprune_cli.program.draft import Program
from qprune_cli.program.loss import FLAT, leads
from qprune_cli.types import Floats, Ints

STEPS = 2000
ROOM = 1e-6  # by which the loss of the point lies above the cuts, for the solver's tolerance


def anchored(program: Program, totals: Ints, columns: Floats, base: Floats, labels: Ints) -> Program:
    """The program of one layer with softmax, with its optimum as the point to start from and tangents there.

    Args:
        program: as ``layer_program`` writes it.
        totals: (N,) variables of the losses of the samples.
        columns: (m, n) what each filter adds to each logit.
        base: (m,) logits without any.
        labels: (N,)
    """
    lead = leads(labels, len(base) // len(labels))  # logits of the other classes, less that of the label
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
    own = np.hstack([-tangents, np.eye(len(labels))])
    row, column = np.nonzero(own)
    places = np.concatenate([program.scores, totals])[column]
    cuts = sparse.csr_matrix((own[row, column], (row, places)), shape=(len(labels), len(program.cost)))
    start = np.full(len(program.cost), np.nan)
    start[program.scores], start[totals] = scores, total + ROOM
    behind = (shift + slopes @ scores).reshape(len(labels), -1) - start[totals][:, None]
    for group, own, above in zip(program.exponentials, behind, start[totals], strict=True):
        start[group] = np.maximum(np.append(own, -above), FLAT)
    return replace(
        program,
        rows=sparse.vstack([program.rows, cuts]).tocsr(),
        low=np.concatenate([program.low, total - tangents @ scores]),
        high=np.concatenate([program.high, np.full(len(labels), np.inf)]),
        start=start,
    )
