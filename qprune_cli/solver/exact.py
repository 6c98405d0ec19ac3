"""Enumeration: every mask, for small problems."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from qprune_cli.errors import UserError
from qprune_cli.problem.local_search import polished, repaired
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Bools, Floats, Ints, Solution

LIMIT = 24
CHUNK = 2**16


@dataclass(frozen=True)
class Exact:
    """Look at every mask. The oracle for tests, and for a handful of filters.

    Layers that may keep one number only, none or all, are not free. The seed is not used. A budget that is a cost is asked of every
    mask that would be better than the best so far, which is slow for masks that keep much.
    """

    def check(self, problem: PruningProblem) -> None:
        """Refuse more filters than can be enumerated.

        Raises:
            UserError: too many free filters.
        """
        if (free := len(_free(problem))) > LIMIT:
            other = "scip" if problem.budget.exact else "profile"
            raise UserError(f"solver=exact: {free} free filters mean 2**{free} choices; it stops at {LIMIT}. Try solver={other}")

    def solve(self, problem: PruningProblem, seed: int) -> Solution:
        """Enumerate.

        Raises:
            UserError: too many free filters.
        """
        start = perf_counter()
        keep = np.concatenate(
            [np.full(len(own), fewest > 0) for own, fewest in zip(problem.filters_of, problem.budget.fewest, strict=True)]
        )
        self.check(problem)
        free = _free(problem)
        known, _ = polished(problem, repaired(problem, np.ones(problem.layout.n, bool)))
        best, masks = (float(problem.damage(known[None])[0]), known) if problem.feasible(known) else (np.inf, known)
        for chunk in _chunks(keep, free):
            damage = problem.damage(chunk)
            for place in _promising(problem, chunk, damage, best):
                if problem.feasible(chunk[place]):
                    best, masks = float(damage[place]), chunk[place]
                    break
        seconds = perf_counter() - start
        return problem.judge(masks, seconds, bound=best, method="enumeration", status="optimal", choices=2 ** len(free))


def _free(problem: PruningProblem) -> Ints:
    """Filters that may stay or go."""
    fixed = [fewest == most and most in (0, len(own)) for own, fewest, most in _ranges(problem)]
    return np.flatnonzero(~np.array(fixed)[problem.layer_of])


def _ranges(problem: PruningProblem) -> Iterator[tuple[Ints, int, int]]:
    """The filters of each layer, their fewest and their most."""
    return zip(problem.filters_of, problem.budget.fewest.tolist(), problem.budget.most.tolist(), strict=True)


def _chunks(keep: Bools, free: Ints) -> Iterator[Bools]:
    """(<= CHUNK, n) all masks, some at a time."""
    for first in range(0, 2 ** len(free), CHUNK):
        numbers = np.arange(first, min(first + CHUNK, 2 ** len(free)))
        masks = np.tile(keep, (len(numbers), 1))
        masks[:, free] = numbers[:, None] >> np.arange(len(free)) & 1
        yield masks


def _promising(problem: PruningProblem, masks: Bools, damage: Floats, best: float) -> Ints:
    """Numbers of the masks that are better than the best so far, and keep an allowed number in each layer, best first."""
    better = damage < best
    for own, options in zip(problem.filters_of, problem.budget.counts, strict=True):
        better &= np.isin(masks[:, own].sum(axis=1), options)
    if problem.budget.exact:
        better &= masks.sum(axis=1) == problem.budget.limit
    places = np.flatnonzero(better)
    return places[np.argsort(damage[places], kind="stable")]
