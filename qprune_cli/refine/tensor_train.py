"""Refinement by a Tensor Train over masks."""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from qprune_cli.errors import UserError
from qprune_cli.problem.local_search import repaired
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.search.active import FEWEST, active_set
from qprune_cli.search.evaluations import EvaluationLog
from qprune_cli.search.mask_distribution import MaskDistribution
from qprune_cli.search.protes import Protes
from qprune_cli.search.settings import check_settings
from qprune_cli.types import Bools, Floats, Ints, Solution

PATIENCE = 5  # batches in a row without a new mask, after which the search ends


@dataclass(frozen=True)
class TensorTrain:
    """Learn a probability over masks on the true metric: sample, measure, pull toward the best, as PROTES does.

    The probability is a Tensor Train that begins around the start (see ``MaskDistribution``). Where the budget is a number of filters,
    every sample has this number by construction. Every layer keeps its count as well where the budget fixes it, and where only some counts
    are allowed (multiples): samples that had to be repaired for these gained half as much. With a budget of parameters,
    multiply-accumulates or time, and where samples violate a floor, they are repaired, and the search learns from the repaired masks. The
    start is in the first batch. Only some filters are free (see ``active_set``). A batch without a new mask costs nothing; after
    ``PATIENCE`` of them in a row the search ends.

    Args:
        evaluations: largest number of distinct masks to measure; start, probes and gradient count as well.
        rank: rank of the Tensor Train; 1 learns filters one by one, more learn which go together.
        samples: number of masks in a batch.
        elites: number of best masks that the probability is pulled toward.
        memory: take the best of all masks so far; otherwise those of the last batch, as PROTES does.
        steps: steps of Adam for each batch.
        rate: step size of Adam.
        active: number of filters that are free, half of them kept; 0 means all.
        eta: probability at the beginning that a free filter differs from the start.
        probes: number of random swaps that are measured to choose the free filters; 0 chooses them at random.
        objective: compensated, or silenced: the network whose metric is tuned (see ``objective_metric``).

    References:
        Batsheva, Chertkov, Ryzhakov, Oseledets, "PROTES: probabilistic optimization with tensor sampling", NeurIPS 2023; written from
        its formulas.
        Oseledets, "Tensor-train decomposition", SIAM J. Sci. Comput. 33, 2011.
    """

    evaluations: int = 200
    rank: int = 5
    samples: int = 20
    elites: int = 5
    memory: bool = True
    steps: int = 10
    rate: float = 0.1
    active: int = 64
    eta: float = 0.15
    probes: int = 20
    objective: str = "compensated"

    def __post_init__(self) -> None:
        check_settings(self, evaluations=3, rank=1, samples=1, elites=1, steps=1, active=0, probes=0)
        if self.elites > self.samples:
            raise UserError(f"refine.elites={self.elites}: give at most the {self.samples} samples of a batch")
        if self.active == 1:
            raise UserError("refine.active=1: give at least 2, one to drop and one to bring back, or 0 for all filters")
        if 0 < self.probes < FEWEST:
            raise UserError(f"refine.probes={self.probes}: give at least {FEWEST}, or 0 to choose the free filters at random")
        if not self.rate > 0:
            raise UserError(f"refine.rate={self.rate}: give a number above 0; 0.1 is usual")
        if not 0 < self.eta < 1:
            raise UserError(f"refine.eta={self.eta}: give a probability between 0 and 1; 0.05 to 0.2 is usual")

    def refine(self, problem: PruningProblem, start: Solution, log: EvaluationLog, seed: int) -> Solution:
        """Search among the free filters until the allowance is spent or nothing is gained; the best mask on the held-out images."""
        started, rng = perf_counter(), np.random.default_rng(seed)
        with log.allowance(self.evaluations, "tensor train"):
            active = active_set(problem, log, groups(problem), self.active, self.probes, rng)
            keep = log.last.keep
            measurer = SampleMeasurer(problem, log, keep, active.filters, runs(problem, keep, active.filters))
            if len(active.filters):
                distribution = MaskDistribution.around(keep[active.filters], self.eta, self.rank, rng, measurer.runs)
                protes = Protes(self.samples, self.elites, self.memory, self.steps, self.rate)
                protes.climb(distribution, measurer, rng, keep[None, active.filters])
        return log.solution(problem, started, method="tensor train", **active.notes, **measurer.notes())


@dataclass
class SampleMeasurer:
    """Measures the samples of the distribution, says when to stop, and counts the samples that needed no repair.

    Attributes:
        problem: the problem.
        log: measures the masks, inside an allowance.
        keep: (n,) mask whose other filters stay as they are.
        filters: (m,) filters that are free.
        runs: length and number of ones of each run of the free filters (see ``MaskDistribution``).
        sampled: number of samples so far.
        feasible: number of these that were feasible without repair.
        stale: batches in a row without a new mask.
        batches: number of batches so far.
    """

    problem: PruningProblem
    log: EvaluationLog
    keep: Bools
    filters: Ints
    runs: tuple[tuple[int, int], ...]
    sampled: int = 0
    feasible: int = 0
    stale: int = 0
    batches: int = 0

    def __call__(self, bits: Bools) -> tuple[Bools, Floats] | None:
        """(b, m) samples of the free filters -> (k, m) to learn from, and their (k,) merits; None when the search is over."""
        if not self.log.open or self.stale == PATIENCE:
            return None
        masks = np.repeat(self.keep[None], len(bits), axis=0)
        masks[:, self.filters] = bits
        masks = self._mended(masks)
        spent = self.log.spent
        values = self.log.values(masks)
        self.stale = 0 if self.log.spent > spent else self.stale + 1
        self.batches += 1
        if len(values) and values.max() > self.log.last.tuned:
            self.log.move_to(masks[int(values.argmax())])
        frozen = np.delete(masks, self.filters, axis=1) == np.delete(self.keep, self.filters)
        usable = frozen.all(axis=1) if self.runs else np.ones(len(masks), bool)
        return masks[usable][:, self.filters], values[usable]

    def notes(self) -> dict[str, Any]:
        """A record of the search, ready for JSON: batches, share of feasible samples, and why it stopped."""
        reason = "the train has collapsed: it brings no new mask" if self.stale == PATIENCE else self.log.stop_reason
        return {
            "batches": self.batches,
            "feasible_share": self.feasible / max(self.sampled, 1),
            "stopped": reason if len(self.filters) else "no filter can trade places with another",
        }

    def _mended(self, masks: Bools) -> Bools:
        """The (k, n) feasible masks of (b, n) samples, those that were not feasible after repair."""
        feasible = np.array([self.problem.feasible(mask) for mask in masks])
        assert not self.runs or (masks.sum(axis=1) == self.keep.sum()).all(), "the number of filters is kept by construction"
        self.sampled, self.feasible = self.sampled + len(masks), self.feasible + int(feasible.sum())
        mended = [mask if good else repaired(self.problem, mask) for mask, good in zip(masks, feasible, strict=True)]
        return np.array([mask for mask in mended if self.problem.feasible(mask)], bool).reshape(-1, len(self.keep))


def by_layer(problem: PruningProblem) -> bool:
    """Whether every layer keeps its count of filters: where each has one allowed count, or where some counts in between are not allowed."""
    budget = problem.budget
    return not budget.free or bool((budget.fewest == budget.most).all())


def groups(problem: PruningProblem) -> list[Ints]:
    """Arrays of filters that may be exchanged for one another: all n, or layer by layer where counts are fixed or the budget is a cost."""
    across = problem.budget.exact and not by_layer(problem)
    return [np.arange(problem.layout.n)] if across else list(problem.filters_of)


def runs(problem: PruningProblem, keep: Bools, filters: Ints) -> tuple[tuple[int, int], ...]:
    """Length and number of ones of each run of the free filters: layer by layer, in all, or no runs where a cost is the budget.

    Args:
        problem: the problem.
        keep: (n,) mask whose counts stay.
        filters: (m,) free filters, rising.
    """
    if not problem.budget.exact:
        return ()
    if not by_layer(problem):
        return ((len(filters), int(keep[filters].sum())),)
    layers = [filters[problem.layer_of[filters] == layer] for layer in np.unique(problem.layer_of[filters])]
    return tuple((len(part), int(keep[part].sum())) for part in layers)
