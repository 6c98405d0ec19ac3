"""Removal of the filters that matter most: the control that shows whether scores mean anything."""

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

    Budget and allowed counts are met as by every solver, so its masks are as sparse as theirs. Couplings play no part. Where a network
    loses no more by this mask than by the removal of the lowest scores, the scores mean nothing. The seed is not used.

    References:
        ElAraby, Wolf, Carvalho, "Identifying critical neurons in ANN architectures using mixed integer programming", 2020,
        arXiv:2002.07259 (their control; formulated here for any scorer).
    """

    def check(self, problem: PruningProblem) -> None:
        """Accept every problem, whatever its layers and its budget are."""

    def solve(self, problem: PruningProblem, seed: int) -> Solution:
        """Drop one filter at a time, from all filters; the damage of the solution is that of the problem, with its scores not negated."""
        start = perf_counter()
        negated = replace(problem, linear=-problem.linear, pairs=Pairs.none())
        keep = repaired(negated, np.ones(problem.layout.n, bool))
        return problem.judge(keep, perf_counter() - start, method="removal of the largest scores")
