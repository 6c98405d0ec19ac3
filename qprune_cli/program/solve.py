"""Solving a program with SCIP; PySCIPOpt is imported when it is needed, so that what goes wrong there is one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from scipy import optimize, sparse

from qprune_cli.errors import UserError
from qprune_cli.program.draft import Program
from qprune_cli.types import Floats

OFF = 3  # SCIP_PARAMSETTING.OFF


@dataclass(frozen=True)
class Solved:
    """An answer.

    Attributes:
        x: (v,) the best point; None where none was found.
        status: SCIP's word: optimal, timelimit, gaplimit, infeasible...
        objective: of the point, with the program's constant.
        bound: proven lower bound of the objective.
        nodes: of the search tree.
        seconds: taken.
    """

    x: Floats | None
    status: str
    objective: float | None
    bound: float | None
    nodes: int
    seconds: float

    @property
    def gap(self) -> float | None:
        """Relative gap between objective and bound; None where either is not known."""
        if self.objective is None or self.bound is None:
            return None
        return max(self.objective - self.bound, 0.0) / max(abs(self.objective), 1e-9)


def solve(program: Program, seconds: float, gap: float = 0.0, start: Floats | None = None) -> Solved:
    """Minimise a program.

    Args:
        program: what to solve.
        seconds: time limit.
        gap: relative gap at which to stop.
        start: (v,) a point to begin with, where one is known; NaN where a variable is left to SCIP.

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
            _hand_over(model, variables, start)
        model.optimize()
        x = np.array([model.getVal(v) for v in variables]) if model.getNSols() else None
        bound = float(model.getDualbound())
        objective = None if x is None else float(model.getObjVal()) + program.constant
        known = None if abs(bound) >= model.infinity() else bound + program.constant
        return Solved(x, model.getStatus(), objective, known, int(model.getNNodes()), perf_counter() - begun)


def extremes(program: Program, weights: Floats, seconds: float) -> tuple[float, float]:
    """Least and largest value of ``weights . x`` over the relaxed program, as far as SCIP can prove them in time."""
    found = []
    with loaded(program.relaxed()) as (model, variables):
        from pyscipopt import quicksum

        model.setParam("limits/time", seconds)
        aim = quicksum(float(w) * variables[i] for i, w in enumerate(weights) if w)
        for sense in ("minimize", "maximize"):
            model.setObjective(aim, sense)
            model.optimize()
            found.append(float(model.getDualbound()))
            model.freeTransform()
    return found[0], found[1]


def solve_linear(program: Program, seconds: float) -> Solved:
    """Minimise a program without integers, squares and exponentials by an interior point method (HiGHS): slow to start, never stuck.

    Args:
        program: what to solve.
        seconds: time limit.
    """
    begun, equal = perf_counter(), program.low == program.high
    linprog: Any = optimize.linprog
    above, below = np.isfinite(program.high) & ~equal, np.isfinite(program.low) & ~equal
    found = linprog(
        program.cost,
        A_ub=sparse.vstack([program.rows[above], -program.rows[below]]),
        b_ub=np.concatenate([program.high[above], -program.low[below]]),
        A_eq=program.rows[equal],
        b_eq=program.low[equal],
        bounds=np.column_stack([program.lower, program.upper]),
        method="highs-ipm",
        options={"time_limit": seconds},
    )
    if found.status != 0:
        return Solved(None, found.message.split(".")[0], None, None, 0, perf_counter() - begun)
    value = float(found.fun) + program.constant
    return Solved(found.x, "optimal", value, value, 0, perf_counter() - begun)


@contextmanager
def loaded(program: Program) -> Iterator[tuple[Any, list[Any]]]:
    """A program as a model of SCIP, and its variables.

    Raises:
        UserError: PySCIPOpt or SCIP cannot be loaded.
    """
    try:
        from pyscipopt import Model, quicksum
        from pyscipopt import exp as exponential
        from pyscipopt.scip import Expr, Term
    except (ImportError, OSError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"SCIP cannot be loaded ({said}); install it with pip install --force-reinstall pyscipopt") from error
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
    return float(value) if np.isfinite(value) else None


def _hand_over(model: Any, variables: list[Any], start: Floats) -> None:
    """Give SCIP a point, whole or in part; it decides whether it is of use."""
    point = model.createPartialSol() if np.isnan(start).any() else model.createSol()
    for variable, value in zip(variables, start, strict=True):
        if not np.isnan(value):
            model.setSolVal(point, variable, float(value))
    model.addSol(point)
