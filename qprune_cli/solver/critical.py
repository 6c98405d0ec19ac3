"""Removal of what matters most: the control that shows whether scores mean anything."""

from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from qprune_cli.problem.local_search import repaired
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Pairs
from qprune_cli.types import Solution


@dataclass(frozen=True)
class Critical:
    """Drop the filter of largest score, again and again, until the budget is met: greedy removal with the scores negated.

    Budget and floors are those of every solver, so its masks are as sparse as theirs. Couplings play no part. A network that loses
    no more by it than by the removal of what matters least was not scored well. The seed is not used.

    References:
        ElAraby, Wolf, Carvalho, "Identifying critical neurons in ANN architectures using mixed integer programming", 2020,
        arXiv:2002.07259 (their control; formulated here for any scorer).
    """

    def check(self, problem: PruningProblem) -> None:
        """It takes every problem."""

    def solve(self, problem: PruningProblem, seed: int) -> Solution:
        """Start from all filters and drop one at a time; the damage is that of the problem as it was given."""
        start = perf_counter()
        negated = replace(problem, linear=-problem.linear, pairs=Pairs.none())
        keep = repaired(negated, np.ones(problem.layout.n, bool))
        return problem.judge(keep, perf_counter() - start, method="removal of the largest scores")
