"""Tasks: programs that are built and solved where they are sent to, such as another process."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from qprune_cli.errors import UserError
from qprune_cli.program.build import Formulation, Limit, joint_program, layer_program
from qprune_cli.program.network import ReluNetwork, simulate
from qprune_cli.program.program import Program
from qprune_cli.program.solve import Solved, solve, solve_linear
from qprune_cli.types import Bools, Floats, Ints

SHARE = 0.25  # share of the time limit for finding a point that a search begins with
PATIENCE = 600.0  # least time limit in seconds of the linear program that stands in for a program without a solution
LINEAR = {"softmax": "margin", "l2": "l1"}  # linear losses that stand in for others


@dataclass(frozen=True)
class SolveSettings:
    """For which prices of the loss a program is solved, and how long.

    Attributes:
        lambdas: prices of the loss; the program is solved for each, and the scores are the mean of the solutions.
        seconds: time limit for each price.
        gap: relative gap at which to stop.
    """

    lambdas: tuple[float, ...]
    seconds: float
    gap: float


@dataclass(frozen=True)
class ProgramScores:
    """The scores that a program gives.

    Attributes:
        scores: (n,) in [0, 1], the mean over the lambdas.
        notes: one row for each lambda: size of the program, status, objective, bound, gap, time..., ready for JSON.
    """

    scores: Floats
    notes: list[dict[str, Any]]


class Task(Protocol):
    """A program that is built and solved where the task is run."""

    def solve(self) -> ProgramScores:
        """Build and solve the program for every lambda.

        Raises:
            UserError: neither the program nor its linear relaxation has a solution in time.
        """


@dataclass(frozen=True)
class LayerTask:
    """The program of one layer.

    Attributes:
        name: name of the layer, for notes and messages.
        columns: (m, n) see ``layer_program``, as all below.
        base: (m,) outputs without any filter.
        targets: (N,) labels, or (m,) targets.
        formulation: the formulation.
        filters: divisor of the published sparsity term.
        limit: what binary scores have to meet; None for no limit.
        settings: lambdas and time limit.
    """

    name: str
    columns: Floats
    base: Floats
    targets: Floats | Ints
    formulation: Formulation
    filters: int
    limit: Limit | None
    settings: SolveSettings

    def solve(self) -> ProgramScores:
        """Build and solve the program of the layer for every lambda."""

        def build(price: float, formulation: Formulation, limit: Limit | None) -> Program:
            return layer_program(self.columns, self.base, self.targets, price, formulation, self.filters, limit)

        def error(scores: Floats, outputs: Floats) -> float:
            return float(np.abs(self.base + self.columns @ scores - outputs).max())

        return _solved(self.name, build, error, self.formulation, self.limit, self.settings)


@dataclass(frozen=True)
class JointTask:
    """The program of a whole network.

    Attributes:
        name: name of the program, for notes and messages.
        network: the network; see ``joint_program``, as all below.
        x: (N, inputs) samples.
        targets: (N,) labels, or (N, outputs) targets.
        formulation: the formulation.
        allowed: (n,) False where a score must be 0.
        limit: what binary scores have to meet; None for no limit.
        settings: lambdas and time limit.
    """

    name: str
    network: ReluNetwork
    x: Floats
    targets: Floats | Ints
    formulation: Formulation
    allowed: Bools
    limit: Limit | None
    settings: SolveSettings

    def solve(self) -> ProgramScores:
        """Build and solve the program of the network for every lambda."""

        def build(price: float, formulation: Formulation, limit: Limit | None) -> Program:
            return joint_program(self.network, self.x, self.targets, price, formulation, self.allowed, limit)

        def error(scores: Floats, outputs: Floats) -> float:
            return float(np.abs(simulate(self.network, self.x, scores)[-1].reshape(-1) - outputs).max())

        return _solved(self.name, build, error, self.formulation, self.limit, self.settings)


def _solved(
    name: str,
    build: Callable[[float, Formulation, Limit | None], Program],
    error: Callable[[Floats, Floats], float],
    formulation: Formulation,
    limit: Limit | None,
    settings: SolveSettings,
) -> ProgramScores:
    """Solve a program for every lambda; where that gives nothing in time, its linear relaxation stands in.

    Args:
        name: name of the program.
        build: makes the program at a price of the loss.
        error: largest difference between the outputs of the network at (n,) scores and (m,) outputs of the program.
        formulation: the formulation.
        limit: what binary scores have to meet.
        settings: lambdas and time limit.
    """
    all_scores, notes = [], []
    for price in settings.lambdas:
        program = build(price, formulation, limit)
        start = _start(program, limit, settings)
        solved = solve(program, settings.seconds, settings.gap, start)
        row = _row(name, price, program, solved)
        if solved.x is None or _stuck(program, solved, start):
            linear = replace(formulation, scores="continuous", relu="relaxed", loss=LINEAR.get(formulation.loss, formulation.loss))
            program = build(price, linear, None)
            solved = solve_linear(program, max(settings.seconds, PATIENCE))
            fallback = {"loss": linear.loss, "scores": linear.scores, "relu": linear.relu, "objective": solved.objective}
            row |= {"fallback": fallback | {"seconds": round(solved.seconds, 3)}}
            if solved.x is None:
                raise UserError(
                    f"scorer.seconds={settings.seconds:g}: neither the program of {name} ({row['status']}) nor its linear relaxation "
                    f"({solved.status}) has an answer; give more time, fewer images, or scorer.mode=decoupled"
                )
        scores = np.clip(solved.x[program.scores], 0, 1)
        all_scores.append(scores)
        notes.append(row | {"mean_score": float(scores.mean()), "error": error(scores, program.outputs_of(solved.x))})
    return ProgramScores(np.mean(all_scores, axis=0), notes)


def _stuck(program: Program, solved: Solved, start: Floats | None) -> bool:
    """Whether the time ended and the search has found no other scores than those of its (v,) start."""
    if start is None or not program.integer.any() or solved.status in ("optimal", "gaplimit") or solved.x is None:
        return False
    return bool(np.allclose(solved.x[program.scores], start[program.scores]))


def _row(name: str, price: float, program: Program, solved: Solved) -> dict[str, Any]:
    """The row of notes on a program at one price: its size and how its search ended."""
    sizes = {"variables": len(program.cost), "binaries": int(program.integer.sum()), "rows": int(program.rows.shape[0])}
    result = {"status": solved.status, "objective": solved.objective, "bound": solved.bound, "gap": solved.gap}
    return {"program": name, "lambda": price} | sizes | result | {"nodes": solved.nodes, "seconds": round(solved.seconds, 3)}


def _start(program: Program, limit: Limit | None, settings: SolveSettings) -> Floats | None:
    """A (v,) point to begin a search with: all scores 1, or those of a limit that are largest in the relaxation; None for none."""
    if not program.integer.any():
        return program.start
    scores = program.upper[program.scores]
    if limit is not None:
        relaxed = solve(program.relaxed(), SHARE * settings.seconds)
        if relaxed.x is None or limit.kept is None:
            return None
        scores = np.zeros(len(program.scores))
        scores[np.argsort(-relaxed.x[program.scores], kind="stable")[: limit.kept]] = 1.0
    return solve(program.at(scores), SHARE * settings.seconds).x
