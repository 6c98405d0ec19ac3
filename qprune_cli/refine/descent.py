"""Swap hill-climb on the true metric: the plain baseline."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.search.evaluations import EvaluationLog
from qprune_cli.search.moves import random_swaps, swapped
from qprune_cli.search.settings import check_settings
from qprune_cli.types import Solution


@dataclass(frozen=True)
class Descent:
    """Try random exchanges of a kept filter for a dropped one, some at a time; move to the best of them if it is truly better.

    It uses nothing of the network but the metric: the baseline that any other refiner should beat at equal evaluations.

    Args:
        evaluations: largest number of masks to measure.
        batch: number of exchanges that are tried before the search moves.
        objective: compensated, or silenced: the network whose metric is tuned (see ``objective_metric``).
    """

    evaluations: int = 200
    batch: int = 8
    objective: str = "compensated"

    def __post_init__(self) -> None:
        check_settings(self, evaluations=3, batch=1)

    def refine(self, problem: PruningProblem, start: Solution, log: EvaluationLog, seed: int) -> Solution:
        """Climb from the start until the evaluations are spent or the held-out images gain no more."""
        started, rng = perf_counter(), np.random.default_rng(seed)
        none_dead = np.zeros(problem.layout.n, bool)
        with log.allowance(self.evaluations, "descent"):
            while log.open:
                keep, spent = log.last.keep, log.spent
                swaps = random_swaps(problem, keep, none_dead, self.batch, rng)
                if not len(swaps):
                    break
                masks = np.stack([swapped(keep, [pair]) for pair in swaps.tolist()])
                values = log.values(masks)
                if values.max() > log.last.tuned:
                    log.move_to(masks[int(values.argmax())])
                elif log.spent == spent:
                    break
        return log.solution(problem, started, method="descent", stopped=log.stop_reason)
