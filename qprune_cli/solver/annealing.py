"""Simulated annealing inside a capacity-driven search."""

from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np
from dwave.samplers import SimulatedAnnealingSampler
from tqdm import tqdm

from qprune_cli.errors import UserError
from qprune_cli.problem.bqm import CapacityModel
from qprune_cli.problem.local_search import polished, repaired
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Bools, Floats, Solution


class Step(NamedTuple):
    """One capacity of the search: its reads, best energy first."""

    alpha: float
    keeps: Bools
    energies: Floats


@dataclass(frozen=True)
class Annealing:
    """Bisect a uniform reward for keeping until the annealed minimiser keeps the asked number of filters.

    The reward ``alpha`` shifts the linear term only, so the couplings keep their meaning, unlike with a penalty on the
    count. A count that is no vertex of the lower convex hull of the optimal energies is met by no alpha, and annealing
    is noisy: the reads nearest to the asked count are then repaired by marginal damage and polished by swaps, so the
    count is always exact. (Our reading of the "dynamic capacity-driven search".)

    Args:
        reads: annealing runs per capacity.
        sweeps: sweeps over all variables per run.
        steps: at most so many capacities.

    References:
        Orabi et al., "Neural Network Pruning via QUBO Optimization", 2026, arXiv:2604.05856.
        D-Wave, dwave-samplers (formerly dwave-neal), simulated annealing.
    """

    reads: int = 10
    sweeps: int = 200
    steps: int = 20

    def __post_init__(self) -> None:
        for name in ("reads", "sweeps", "steps"):
            if getattr(self, name) < 1:
                raise UserError(f"solver.{name}={getattr(self, name)}: give a whole number, at least 1")

    def solve(self, problem: PruningProblem, seed: int) -> Solution:
        """Search the capacity, then repair and polish the nearest reads."""
        start = perf_counter()
        searched = self._search(problem, seed)
        chosen = min(searched, key=lambda step: float(np.abs(self._spent(problem, step.keeps) - problem.budget.limit).min()))
        reads = np.unique(chosen.keeps, axis=0)
        finished = [polished(problem, repaired(problem, keep)) for keep in reads]
        best = int(problem.damage(np.stack([keep for keep, _ in finished])).argmin())
        keep, swaps = finished[best]
        return problem.judge(
            keep,
            perf_counter() - start,
            method="simulated annealing, capacity bisection, repair, swaps",
            trace=[self._row(step) for step in searched],
            alpha=chosen.alpha,
            reads={"kept": chosen.keeps.sum(axis=1).tolist(), "energy": chosen.energies.tolist()},
            repair={
                "kept_before": int(reads[best].sum()),
                "filters_changed": int((repaired(problem, reads[best]) != reads[best]).sum()),
                "swaps": swaps,
                "filters_changed_in_all": int((keep != reads[best]).sum()),
            },
        )

    def _search(self, problem: PruningProblem, seed: int) -> list[Step]:
        model, sampler, rng = CapacityModel(problem), SimulatedAnnealingSampler(), np.random.default_rng(seed)
        low, high = model.bracket()
        temperatures = model.temperatures()
        searched: list[Step] = []
        with tqdm(total=self.steps, desc="anneal", unit="capacity", leave=False, disable=None) as bar:
            while len(searched) < self.steps:
                alpha = (low + high) / 2
                samples = sampler.sample(
                    model.bqm(alpha),
                    num_reads=self.reads,
                    num_sweeps=self.sweeps,
                    beta_range=temperatures,
                    seed=int(rng.integers(2**31)),
                )
                searched.append(Step(alpha, *model.decode(samples)))
                spent = self._spent(problem, searched[-1].keeps[:1])[0]
                bar.set_postfix(spent=spent, asked=problem.budget.limit)
                bar.update()
                if spent == problem.budget.limit:
                    break
                low, high = (alpha, high) if spent < problem.budget.limit else (low, alpha)
        return searched

    @staticmethod
    def _spent(problem: PruningProblem, keeps: Bools) -> Floats:
        """(b, n) -> (b,) what masks spend of the budget."""
        return np.array([problem.budget.spent(keep) for keep in keeps])

    @staticmethod
    def _row(step: Step) -> dict[str, float | int]:
        counts = step.keeps.sum(axis=1)
        return {
            "alpha": step.alpha,
            "kept": int(counts[0]),
            "kept_min": int(counts.min()),
            "kept_max": int(counts.max()),
            "energy": float(step.energies[0]),
        }
