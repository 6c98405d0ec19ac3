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
        evaluations: largest number of masks to measure.
        swaps: largest number of exchanges between a mask and the start; the number is drawn evenly on a logarithmic scale.
        objective: compensated, or silenced: the network whose metric is tuned (see ``objective_metric``).
    """

    evaluations: int = 200
    swaps: int = 8
    objective: str = "compensated"

    def __post_init__(self) -> None:
        check_settings(self, evaluations=3, swaps=1)

    def refine(self, problem: PruningProblem, start: Solution, log: EvaluationLog, seed: int) -> Solution:
        """Measure random masks around the start until the evaluations are spent or the held-out images gain no more."""
        started, rng = perf_counter(), np.random.default_rng(seed)
        with log.allowance(self.evaluations, "random"):
            while log.open:
                spent = log.spent
                masks = np.stack([self._near(problem, start, rng) for _ in range(BATCH)])
                values = log.values(masks)
                if values.max() > log.last.tuned:
                    log.move_to(masks[int(values.argmax())])
                elif log.spent == spent:
                    break
        return log.solution(problem, started, method="random", stopped=log.stop_reason)

    def _near(self, problem: PruningProblem, start: Solution, rng: np.random.Generator) -> Bools:
        """A feasible (n,) mask, a random number of exchanges away from the start."""
        keep, none_dead = start.keep, np.zeros(problem.layout.n, bool)
        for _ in range(int(np.exp(rng.uniform(0, np.log(self.swaps + 1))))):
            keep = swapped(keep, random_swaps(problem, keep, none_dead, 1, rng).tolist())
        return keep
