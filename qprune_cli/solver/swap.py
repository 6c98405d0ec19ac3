"""Annealing by swaps, in many chains side by side."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from qprune_cli.errors import UserError
from qprune_cli.problem.local_search import polished, repaired
from qprune_cli.problem.priced import mask_from_profiles
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.profile import layer_profiles
from qprune_cli.problem.swap_chains import SwapChains
from qprune_cli.types import Bools, Solution

HOT, COLD = 0.3, 1e-3  # first and last temperature, as shares of a typical change of the damage
PROMISING = 4  # best chains whose masks are polished


@dataclass(frozen=True)
class Swap:
    """Anneal masks of the right size by exchanging filters, then descend; made for couplings of both signs and across layers.

    Every move drops a filter and brings one back, so counts stay allowed. In each step a chain takes some kept and some dropped filters,
    and draws one of their exchanges, or none, by its Boltzmann weight (heat bath), while the temperature falls. Chains start from greedy
    removal, greedy return, the layers' profiles and random masks. The starts that are not random are candidates for the result as well,
    so it is never worse than they are. Where the budget is a cost, chains start at different counts and move within layers.

    Args:
        chains: number of chains that are annealed side by side.
        sweeps: length of the annealing; in a sweep, a chain takes as many filters as there are.

    References:
        Kirkpatrick et al., "Optimization by simulated annealing", 1983.
        Kawasaki, "Diffusion constants near the critical point for time-dependent Ising models", 1966 (moves that keep the sum).
    """

    chains: int = 16
    sweeps: int = 20

    def __post_init__(self) -> None:
        for name, least in (("chains", 1), ("sweeps", 0)):
            if getattr(self, name) < least:
                raise UserError(f"solver.{name}={getattr(self, name)}: give a whole number, at least {least}")

    def check(self, problem: PruningProblem) -> None:
        """Accept every problem, whatever its layers and its budget are."""

    def solve(self, problem: PruningProblem, seed: int) -> Solution:
        """Anneal, repair and polish; the result is the best of the best chains and of the starts that are not random."""
        start, rng = perf_counter(), np.random.default_rng(seed)
        n = problem.layout.n
        removal, returned = repaired(problem, np.ones(n, bool)), repaired(problem, np.zeros(n, bool))
        built = [removal, returned, mask_from_profiles(problem, layer_profiles(problem))[0]]
        drawn = [repaired(problem, rng.permutation(n) < rng.integers(1, n + 1)) for _ in range(self.chains - len(built))]
        annealed = self._annealed(problem, np.stack([*built, *drawn])[: self.chains], rng)
        annealed = annealed[np.argsort(problem.damage(annealed), kind="stable")]
        promising = np.unique([*built, *(repaired(problem, keep) for keep in annealed[:PROMISING])], axis=0)
        finished = np.stack([*built, *(polished(problem, keep)[0] for keep in promising)])
        damage = np.where([problem.feasible(keep) for keep in finished], problem.damage(finished), np.inf)
        return problem.judge(
            finished[int(damage.argmin())],
            perf_counter() - start,
            method="annealing by swaps, swaps",
            built=dict(zip(("removal", "return", "profile"), damage.tolist(), strict=False)),
            chains=problem.damage(annealed).tolist(),
        )

    def _annealed(self, problem: PruningProblem, keep: Bools, rng: np.random.Generator) -> Bools:
        """(chains, n) masks after annealing, each the best that its chain has passed, from (chains, n) starts."""
        chains = SwapChains(problem, keep)
        steps = self.sweeps * -(-problem.layout.n // chains.filters_per_step)
        scale = chains.typical_change(rng)
        for temperature in scale * np.geomspace(HOT, COLD, steps):
            chains.step(rng, float(temperature))
        return chains.best
