"""Random masks near the start: the baseline that needs no idea."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.search.evaluations import EvaluationLog
from qprune_cli.search.moves import random_swaps, swapped
from qprune_cli.search.settings import check_settings
from qprune_cli.types import Bools, Solution

BATCH = 8  # masks measured at a time


@dataclass(frozen=True)
class RandomSearch:
    """Measure random masks around the start and keep the best.

    Args:
        evaluations: masks to measure at most.
        swaps: exchanges by which a mask differs from the start at most; how many is drawn evenly on a logarithmic scale.
        objective: compensated, or silenced: what network the metric is of (see ``objective_metric``).
    """

    evaluations: int = 200
    swaps: int = 8
    objective: str = "compensated"

    def __post_init__(self) -> None:
        check_settings(self, evaluations=3, swaps=1)

    def refine(self, problem: PruningProblem, start: Solution, log: EvaluationLog, seed: int) -> Solution:
        """Look around the start until the evaluations are spent."""
        started, rng = perf_counter(), np.random.default_rng(seed)
        with log.allowance(self.evaluations, "random"):
            while log.open:
                spent = log.spent
                masks = np.stack([self._near(problem, start, rng) for _ in range(BATCH)])
                values = log.values(masks)
                if values.max() > log.last.tuned:
                    log.moved(masks[int(values.argmax())])
                elif log.spent == spent:
                    break
        return log.solution(problem, started, method="random", stopped=log.why)

    def _near(self, problem: PruningProblem, start: Solution, rng: np.random.Generator) -> Bools:
        """A feasible (n,) mask some exchanges away."""
        keep, nobody = start.keep, np.zeros(problem.layout.n, bool)
        for _ in range(int(np.exp(rng.uniform(0, np.log(self.swaps + 1))))):
            keep = swapped(keep, random_swaps(problem, keep, nobody, 1, rng).tolist())
        return keep
