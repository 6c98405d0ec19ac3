"""Gives SCIP the optimum of a smooth convex program as a start, together with rows that prove it.

With one layer and continuous scores, the softmax loss is a smooth convex function of the scores in a box. Quasi-Newton steps find its
minimum in moments, where SCIP would need many cutting planes. The tangents of the loss at that point are added as rows: by the conditions
of optimality, the linear program with these rows has its minimum at the same point. So SCIP confirms it at once, or goes on where it is
not exact.
"""

from dataclasses import dataclass, replace
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
    lead = leads(labels, len(base) // len(labels))
    softmax = _Softmax(np.asarray(lead @ columns), lead @ base, len(labels))
    scores = _minimum(program, softmax, float(program.cost[totals[0]]))
    losses, _ = softmax.losses(scores)
    tangents = softmax.tangents(scores)
    weights = np.hstack([-tangents, np.eye(len(labels))])
    row, column = np.nonzero(weights)
    variables = np.concatenate([program.scores, totals])[column]
    cuts = sparse.csr_matrix((weights[row, column], (row, variables)), shape=(len(labels), len(program.cost)))
    return replace(
        program,
        rows=sparse.vstack([program.rows, cuts]).tocsr(),
        low=np.concatenate([program.low, losses - tangents @ scores]),
        high=np.concatenate([program.high, np.full(len(labels), np.inf)]),
        start=_start(program, totals, softmax, scores),
    )


@dataclass(frozen=True)
class _Softmax:
    """Softmax losses of N samples as functions of (n,) scores.

    Attributes:
        slopes: (N * (classes - 1), n) what each filter adds to the logit of each other class, less that of the label.
        shift: (N * (classes - 1),) the same without any filter.
        samples: N.
    """

    slopes: Floats
    shift: Floats
    samples: int

    def behind(self, scores: Floats) -> Floats:
        """(N, classes - 1) logits of the other classes, less that of the label."""
        return np.asarray((self.shift + self.slopes @ scores).reshape(self.samples, -1))

    def losses(self, scores: Floats) -> tuple[Floats, Floats]:
        """(N,) losses, and (N, classes - 1) probabilities of the other classes."""
        behind = self.behind(scores)
        largest = np.maximum(behind.max(axis=1), 0)
        losses = largest + np.log(np.exp(-largest) + np.exp(behind - largest[:, None]).sum(axis=1))
        return losses, np.exp(behind - losses[:, None])

    def tangents(self, scores: Floats) -> Floats:
        """(N, n) gradients of the losses."""
        _, shares = self.losses(scores)
        spread = sparse.csr_matrix((shares.reshape(-1), (np.repeat(np.arange(self.samples), shares.shape[1]), np.arange(shares.size))))
        return np.asarray(spread @ self.slopes)


def _minimum(program: Program, softmax: _Softmax, price: float) -> Floats:
    """The (n,) scores of least objective, by quasi-Newton steps from their upper bounds."""
    rewards = program.cost[program.scores]

    def objective(scores: Floats) -> tuple[float, Floats]:
        losses, shares = softmax.losses(scores)
        return price * float(losses.sum()) + float(rewards @ scores), price * softmax.slopes.T @ shares.reshape(-1) + rewards

    minimize: Any = optimize.minimize
    bounds = np.column_stack([program.lower, program.upper])[program.scores]
    result = minimize(objective, bounds[:, 1], jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS})
    return np.asarray(np.clip(result.x, *bounds.T))


def _start(program: Program, totals: Ints, softmax: _Softmax, scores: Floats) -> Floats:
    """The (v,) point of (n,) scores, with losses a little above the cuts, and NaN for variables that SCIP is to fill in."""
    start = np.full(len(program.cost), np.nan)
    start[program.scores], start[totals] = scores, softmax.losses(scores)[0] + ROOM
    behind = softmax.behind(scores) - start[totals][:, None]
    for group, others, loss in zip(program.exponentials, behind, start[totals], strict=True):
        start[group] = np.maximum(np.append(others, -loss), FLAT)
    return start
