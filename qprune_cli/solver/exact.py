"""Enumeration of all masks, for small problems."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from qprune_cli.errors import UserError
from qprune_cli.problem.local_search import polished, repaired
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Bools, Floats, Ints, Solution

LIMIT = 24  # most free filters
CHUNK = 2**16  # masks that are looked at together


@dataclass(frozen=True)
class Exact:
    """Look at every mask. The oracle for tests, and for a handful of filters.

    The filters of a layer whose one allowed count is none or all are not free, and are not enumerated. Where the budget is a cost, the
    true cost is computed for every mask that would be better than the best so far, which is slow where much is kept. The seed is not used.
    """

    def check(self, problem: PruningProblem) -> None:
        """Refuse more filters than can be enumerated.

        Raises:
            UserError: more than ``LIMIT`` filters are free.
        """
        if (free := len(_free(problem))) > LIMIT:
            other = "scip" if problem.budget.exact else "profile"
            raise UserError(f"solver=exact: {free} free filters mean 2**{free} choices; it stops at {LIMIT}. Try solver={other}")

    def solve(self, problem: PruningProblem, seed: int) -> Solution:
        """Look at every feasible mask; the bound of the solution is its damage.

        Raises:
            UserError: more than ``LIMIT`` filters are free.
        """
        start = perf_counter()
        keep = np.concatenate(
            [np.full(len(filters), fewest > 0) for filters, fewest in zip(problem.filters_of, problem.budget.fewest, strict=True)]
        )
        self.check(problem)
        free = _free(problem)
        mask, _ = polished(problem, repaired(problem, np.ones(problem.layout.n, bool)))
        best = float(problem.damage(mask[None])[0]) if problem.feasible(mask) else np.inf
        for chunk in _chunks(keep, free):
            damage = problem.damage(chunk)
            for row in _promising(problem, chunk, damage, best):
                if problem.feasible(chunk[row]):
                    best, mask = float(damage[row]), chunk[row]
                    break
        seconds = perf_counter() - start
        return problem.judge(mask, seconds, bound=best, method="enumeration", status="optimal", choices=2 ** len(free))


def _free(problem: PruningProblem) -> Ints:
    """Numbers of the filters that may stay or go."""
    fixed = [fewest == most and most in (0, len(filters)) for filters, fewest, most in _ranges(problem)]
    return np.flatnonzero(~np.array(fixed)[problem.layer_of])


def _ranges(problem: PruningProblem) -> Iterator[tuple[Ints, int, int]]:
    """Yield for each layer its filters, the fewest and the most that it may keep."""
    return zip(problem.filters_of, problem.budget.fewest.tolist(), problem.budget.most.tolist(), strict=True)


def _chunks(keep: Bools, free: Ints) -> Iterator[Bools]:
    """Yield all masks, (<= CHUNK, n) at a time: those of the free filters, with the others as in an (n,) mask."""
    for first in range(0, 2 ** len(free), CHUNK):
        numbers = np.arange(first, min(first + CHUNK, 2 ** len(free)))
        masks = np.tile(keep, (len(numbers), 1))
        masks[:, free] = numbers[:, None] >> np.arange(len(free)) & 1
        yield masks


def _promising(problem: PruningProblem, masks: Bools, damage: Floats, best: float) -> Ints:
    """Rows of (b, n) masks that do less damage than the best so far and keep allowed counts, least damage first."""
    better = damage < best
    for filters, options in zip(problem.filters_of, problem.budget.counts, strict=True):
        better &= np.isin(masks[:, filters].sum(axis=1), options)
    if problem.budget.exact:
        better &= masks.sum(axis=1) == problem.budget.limit
    rows = np.flatnonzero(better)
    return rows[np.argsort(damage[rows], kind="stable")]
