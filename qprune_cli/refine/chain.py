"""Several refiners that work on one mask, one after another."""

from dataclasses import dataclass, field, fields, replace
from time import perf_counter
from typing import Any

from qprune_cli.errors import UserError
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.search.evaluations import EvaluationLog
from qprune_cli.search.settings import check_settings
from qprune_cli.types import Solution


@dataclass(frozen=True)
class Chain:
    """Let each refiner begin where the one before ended; what one has measured is free for the next.

    Args:
        stages: the refiners, in order; each spends its own evaluations.
        objective: compensated, or silenced: the network whose metric all stages tune (see ``objective_metric``).
    """

    stages: tuple[Any, ...] = field(default=(), metadata={"group": "refine"})
    objective: str = "compensated"

    def __post_init__(self) -> None:
        check_settings(self)
        if any(not hasattr(stage, "refine") for stage in self.stages):
            raise UserError("refine.stages: give refiners by name, as in refine.stages=[gradient,sequential]")
        measuring = [stage for stage in self.stages if "objective" in {setting.name for setting in fields(stage)}]
        for name in {stage.objective for stage in measuring} - {"compensated", self.objective}:
            raise UserError(f"refine.stages: one of them has objective={name}; set refine.objective={name}, which is that of all stages")
        stages = tuple(replace(stage, objective=self.objective) if stage in measuring else stage for stage in self.stages)
        object.__setattr__(self, "stages", stages)

    def refine(self, problem: PruningProblem, start: Solution, log: EvaluationLog, seed: int) -> Solution:
        """Run the stages one after another; the mask that is best on the held-out images is the result."""
        started, solution, notes = perf_counter(), start, []
        for stage in self.stages:
            solution = stage.refine(problem, solution, log, seed)
            notes.append({"refiner": type(stage).__name__} | dict(solution.notes))
        return log.solution(problem, started, method="chain", stages=notes) if log.incumbents else solution
