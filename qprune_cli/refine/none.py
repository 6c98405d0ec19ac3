"""No refinement: the solver's mask is the result."""

from dataclasses import dataclass
from typing import ClassVar

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.search.evaluations import EvaluationLog
from qprune_cli.types import Solution


@dataclass(frozen=True)
class NoRefinement:
    """Keep the solver's mask; no evaluation is spent."""

    objective: ClassVar[str] = "silenced"

    def refine(self, problem: PruningProblem, start: Solution, log: EvaluationLog, seed: int) -> Solution:
        """Return the start as it is."""
        return start
