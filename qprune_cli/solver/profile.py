"""Profiles of all layers, joined by a choice of one count per layer."""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from qprune_cli.problem.allocation import least_costs
from qprune_cli.problem.local_search import polished, repaired
from qprune_cli.problem.priced import mask_from_profiles
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.profile import layer_profiles
from qprune_cli.types import Floats, Solution

ROWS = 200  # most rows of the trace


@dataclass(frozen=True)
class Profile:
    """The least damage of every layer at every count, counts by dynamic programming, then swaps.

    Where couplings stay within layers, the result is as good as the profiles, which are optimal for nearly all counts. Where they reach
    other layers, profiles leave these couplings out and the swaps take them in. A cost is met by bisecting its price. The seed is not
    used. (Ours; there is no sampler, so there is nothing to tune.)
    """

    def check(self, problem: PruningProblem) -> None:
        """Accept every problem, whatever its layers and its budget are."""

    def solve(self, problem: PruningProblem, seed: int) -> Solution:
        """Profile the layers, choose their counts, then swap filters until no swap helps."""
        start = perf_counter()
        layers = layer_profiles(problem)
        keep, priced = mask_from_profiles(problem, layers)
        if not problem.pairs.separable:  # profiles leave couplings between layers out, greedy removal does not
            other = polished(problem, repaired(problem, np.ones(problem.layout.n, bool)))[0]
            keep = min((keep, other), key=lambda mask: (not problem.feasible(mask), float(problem.damage(mask[None])[0])))
        notes: dict[str, Any] = {}
        if priced is not None:
            notes = {"price": priced.price if np.isfinite(priced.price) else None, "spent": problem.budget.spent(keep)}
        elif problem.pairs.separable:
            notes = {"trace": _curve(least_costs(problem.budget.counts, [profile.damage for profile in layers]))}
        return problem.judge(keep, perf_counter() - start, method="profiles of the layers, allocation of counts, swaps", **notes)


def _curve(least: Floats) -> list[dict[str, float | int]]:
    """Rows of the trace: least damage at up to ``ROWS`` numbers of kept filters, from the least damage at every number."""
    kept = np.flatnonzero(np.isfinite(least))
    kept = kept[np.unique(np.linspace(0, len(kept) - 1, ROWS).round().astype(int))] if len(kept) > ROWS else kept
    return [{"kept": int(k), "damage": float(least[k])} for k in kept]
