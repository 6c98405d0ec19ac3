"""Greedy removal of filters by their marginal damage."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from qprune_cli.problem.local_search import repaired
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Solution


@dataclass(frozen=True)
class Greedy:
    """Drop the filter of smallest marginal damage, again and again, until the budget is met.

    Without couplings this keeps the highest scores, which is optimal with a floor for each layer. The seed is not used.

    References:
        Molchanov et al., "Pruning convolutional neural networks for resource efficient inference", 2017,
        arXiv:1611.06440 (greedy criteria-based pruning).
    """

    def check(self, problem: PruningProblem) -> None:
        """Accept every problem, whatever its layers and its budget are."""

    def solve(self, problem: PruningProblem, seed: int) -> Solution:
        """Drop one filter at a time, from all filters, until the mask is feasible."""
        start = perf_counter()
        keep = repaired(problem, np.ones(problem.layout.n, bool))
        return problem.judge(keep, perf_counter() - start, method="greedy removal by marginal damage")
