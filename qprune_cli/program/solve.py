"""Solves programs with SCIP or HiGHS; PySCIPOpt is imported only when it is needed, so that a broken installation is one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from scipy import optimize, sparse

from qprune_cli.errors import UserError
from qprune_cli.program.program import Program
from qprune_cli.types import Floats

OFF = 3  # SCIP_PARAMSETTING.OFF


@dataclass(frozen=True)
class Solved:
    """The result of solving a program.

    Attributes:
        x: (v,) the best point; None where none was found.
        status: SCIP's status: optimal, timelimit, gaplimit, infeasible...
        objective: objective at the point, with the constant of the program; None where there is no point.
        bound: proven lower bound of the objective; None where there is none.
        nodes: number of nodes of the search tree.
        seconds: time that it took.
    """

    x: Floats | None
    status: str
    objective: float | None
    bound: float | None
    nodes: int
    seconds: float

    @property
    def gap(self) -> float | None:
        """Gap between objective and bound as a share of the objective; None where either is missing."""
        if self.objective is None or self.bound is None:
            return None
        return max(self.objective - self.bound, 0.0) / max(abs(self.objective), 1e-9)


def solve(program: Program, seconds: float, gap: float = 0.0, start: Floats | None = None) -> Solved:
    """Minimise a program with SCIP.

    Args:
        program: what to solve.
        seconds: time limit.
        gap: relative gap at which to stop.
        start: (v,) point to begin the search with, NaN for variables that SCIP is to fill in; None for none.

    Raises:
        UserError: SCIP is not installed properly.
    """
    begun = perf_counter()
    with loaded(program) as (model, variables):
        model.setParam("limits/time", max(seconds, 0.0))
        model.setParam("limits/gap", gap)
        if not program.integer.any():
            model.setHeuristics(OFF)  # convex: the first relaxation is the answer
        if start is not None:
            _add_start(model, variables, start)
        model.optimize()
        x = np.array([model.getVal(v) for v in variables]) if model.getNSols() else None
        bound = float(model.getDualbound())
        objective = None if x is None else float(model.getObjVal()) + program.constant
        proven = None if abs(bound) >= model.infinity() else bound + program.constant
        return Solved(x, model.getStatus(), objective, proven, int(model.getNNodes()), perf_counter() - begun)


def extremes(program: Program, weights: Floats, seconds: float) -> tuple[float, float]:
    """A lower and an upper bound of ``weights . x`` over the relaxed program, as tight as SCIP proves them in time; weights are (v,)."""
    bounds = []
    with loaded(program.relaxed()) as (model, variables):
        from pyscipopt import quicksum

        model.setParam("limits/time", seconds)
        aim = quicksum(float(w) * variables[i] for i, w in enumerate(weights) if w)
        for sense in ("minimize", "maximize"):
            model.setObjective(aim, sense)
            model.optimize()
            bounds.append(float(model.getDualbound()))
            model.freeTransform()
    return bounds[0], bounds[1]


def solve_linear(program: Program, seconds: float) -> Solved:
    """Minimise a linear program (no integers, squares, exponentials) by the interior point method of HiGHS: slow to start, never stuck.

    Args:
        program: what to solve.
        seconds: time limit.
    """
    begun, equal = perf_counter(), program.low == program.high
    linprog: Any = optimize.linprog
    above, below = np.isfinite(program.high) & ~equal, np.isfinite(program.low) & ~equal
    result = linprog(
        program.cost,
        A_ub=sparse.vstack([program.rows[above], -program.rows[below]]),
        b_ub=np.concatenate([program.high[above], -program.low[below]]),
        A_eq=program.rows[equal],
        b_eq=program.low[equal],
        bounds=np.column_stack([program.lower, program.upper]),
        method="highs-ipm",
        options={"time_limit": seconds},
    )
    if result.status != 0:
        return Solved(None, result.message.split(".")[0], None, None, 0, perf_counter() - begun)
    value = float(result.fun) + program.constant
    return Solved(result.x, "optimal", value, value, 0, perf_counter() - begun)


@contextmanager
def loaded(program: Program) -> Iterator[tuple[Any, list[Any]]]:
    """Load a program into SCIP, as its model and the list of its v variables; both are freed behind the block.

    Raises:
        UserError: PySCIPOpt or SCIP cannot be loaded.
    """
    try:
        from pyscipopt import Model, quicksum
        from pyscipopt import exp as exponential
        from pyscipopt.scip import Expr, Term
    except (ImportError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"SCIP cannot be loaded ({reason}); install it with pip install --force-reinstall pyscipopt") from error
    model = Model()
    model.hideOutput()
    variables = [
        model.addVar(lb=_bound(low), ub=_bound(high), obj=float(price), vtype="B" if integer else "C")
        for low, high, price, integer in zip(program.lower, program.upper, program.cost, program.integer, strict=True)
    ]
    terms, rows = [Term(v) for v in variables], program.rows
    for k, (low, high) in enumerate(zip(program.low, program.high, strict=True)):
        part = slice(rows.indptr[k], rows.indptr[k + 1])
        row = Expr({terms[j]: float(w) for j, w in zip(rows.indices[part], rows.data[part], strict=True)})
        if low == high:
            model.addCons(row == float(low))
        else:
            for bound, sign in ((low, 1), (high, -1)):
                if np.isfinite(bound):
                    model.addCons(row >= float(bound) if sign > 0 else row <= float(bound))
    for z, q in program.squares:
        model.addCons(variables[z] * variables[z] <= variables[q])
    for p, a, b in program.products:
        model.addCons(variables[a] * variables[b] == variables[p])
    for group in program.exponentials:
        model.addCons(quicksum(exponential(variables[u]) for u in group) <= 1)
    try:
        yield model, variables
    finally:
        model.freeProb()


def _bound(value: float) -> float | None:
    """A bound as SCIP takes it: None for none."""
    return float(value) if np.isfinite(value) else None


def _add_start(model: Any, variables: list[Any], start: Floats) -> None:
    """Give SCIP a (v,) start, with NaN for variables that it is to fill in; SCIP decides whether to use it."""
    point = model.createPartialSol() if np.isnan(start).any() else model.createSol()
    for variable, value in zip(variables, start, strict=True):
        if not np.isnan(value):
            model.setSolVal(point, variable, float(value))
    model.addSol(point)
