"""Exchanges proposed by the gradient at the mask, one at a time."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.walk import Walk
from qprune_cli.search.evaluations import EvaluationLog, gradient_price
from qprune_cli.search.moves import Swap, best_swaps, swapped
from qprune_cli.search.settings import check_settings
from qprune_cli.search.trust import slope_problem
from qprune_cli.types import Solution


@dataclass(frozen=True)
class Gradient:
    """Take the gradient of the loss at the mask, try the exchanges that it proposes, move to the best, and begin again.

    The gradient of a filter's gate, and its second moment as curvature (a removal is no small step), predict what dropping the filter or
    bringing it back does to the loss. An exchange is tried once at each mask; the search ends where none is left or none gains.

    Args:
        evaluations: largest number of masks to measure; a gradient counts as three.
        batch: number of exchanges that are measured at a time.
        tries: number of batches at one mask, without a gain, after which the search ends.
        objective: compensated, or silenced: the network whose metric is tuned (see ``objective_metric``).
    """

    evaluations: int = 200
    batch: int = 8
    tries: int = 8
    objective: str = "compensated"

    def __post_init__(self) -> None:
        check_settings(self, evaluations=4 + gradient_price(0), batch=1, tries=1)

    def refine(self, problem: PruningProblem, start: Solution, log: EvaluationLog, seed: int) -> Solution:
        """Climb along the gradients until the evaluations are spent, nothing helps, or the held-out images gain no more."""
        started = perf_counter()
        with log.allowance(self.evaluations, "gradient"):
            moved = True
            while log.open and log.room > gradient_price(0) and moved:
                moved = self._moved(problem, log, seed)
        return log.solution(problem, started, method="gradient", stopped=log.stop_reason)

    def _moved(self, problem: PruningProblem, log: EvaluationLog, seed: int) -> bool:
        """Take a gradient and try the exchanges that it proposes; returns whether one was better and the search has moved."""
        keep, tried = log.last.keep, set[Swap]()
        walk = Walk(slope_problem(problem, log.quadratic(keep, 0, seed), keep), keep)
        for _ in range(self.tries):
            swaps = best_swaps(walk, self.batch, tried)
            if not swaps or log.room <= 0:
                return False
            masks = np.stack([swapped(keep, [swap]) for swap in swaps])
            values = log.values(masks)
            if values.max() > log.last.tuned:
                log.move_to(masks[int(values.argmax())])
                return True
            tried |= set(swaps)
        return False
