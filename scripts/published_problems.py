"""The Tensor Train search on the four binary problems that PROTES was published with: 50 variables, 10,000 evaluations.

    python scripts/published_problems.py --scale cpu --seeds 0 1 2 3 4 --json outputs/published_problems.json

Nothing is constrained and every sample counts, known ones too. "batch" learns from the best 10 of each batch of 100, as PROTES does;
"memory" from the best 10 so far. Both take PROTES' settings otherwise (rank 5, one step of Adam at 0.05 for each batch), but the cores
are exponentials. Published figures are of one seed, from the log in PROTES' repository; "rival" is the best of seven other methods.

The problems are restated from their definitions. Knapsack: 50 items of Dong et al. 2021 (k3), capacity 1000, 0 for what is too heavy;
optimum -3103. Max-Cut and vertex cover: the G(50, 0.5) of networkx with seed 42, which has 597 edges; a cover costs 1 for a vertex and
earns 10 for an edge. QUBO knapsack: weights and profits uniform from NumPy's old generator at seed 0, 10 for the squared distance of
the weight of what is chosen from the mean of all.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import networkx as nx
import numpy as np
from tqdm import tqdm

from qprune_cli.search.mask_distribution import MaskDistribution
from qprune_cli.search.protes import Protes

VARIABLES, RANK = 50, 5
SCALES = {"tiny": 1000, "cpu": 10_000, "gpu": 10_000}  # evaluations; nothing here runs on a GPU
SEARCHES = {"batch": Protes(), "memory": Protes(memory=True)}
CAPACITY = 1000
# Weights and profits as in demo/demo_qubo.py of github.com/anabatsh/PROTES.
WEIGHTS = (
    *(80, 82, 85, 70, 72, 70, 66, 50, 55, 25, 50, 55, 40, 48, 59, 32, 22, 60, 30, 32, 40, 38, 35, 32, 25),
    *(28, 30, 22, 50, 30, 45, 30, 60, 50, 20, 65, 20, 25, 30, 10, 20, 25, 15, 10, 10, 10, 4, 4, 2, 1),
)
PROFITS = (
    *(220, 208, 198, 192, 180, 180, 165, 162, 160, 158, 155, 130, 125, 122, 120, 118, 115, 110, 105, 101, 100, 100, 98, 96, 95),
    *(90, 88, 82, 80, 77, 75, 73, 72, 70, 69, 66, 65, 63, 60, 58, 56, 50, 30, 20, 15, 10, 8, 5, 3, 1),
)
PUBLISHED = {"knapsack": (-3079, -3048), "QUBO knapsack": (-3.0718, -3.0334), "Max-Cut": (-359, -362), "vertex cover": (-5927, -5926)}
Energy = Callable[[np.ndarray], np.ndarray]


def knapsack(masks: np.ndarray) -> np.ndarray:
    """(b, 50) choices of items -> (b,) profit, negative; 0 where they are too heavy."""
    return np.where(masks @ np.array(WEIGHTS) > CAPACITY, 0.0, -(masks @ np.array(PROFITS, float)))


def knapsack_optimum() -> int:
    """Largest profit, by dynamic programming over capacities."""
    best = np.zeros(CAPACITY + 1, int)
    for weight, profit in zip(WEIGHTS, PROFITS, strict=True):
        best[weight:] = np.maximum(best[weight:], best[:-weight] + profit)
    return int(best[-1])


def edges() -> np.ndarray:
    """(597, 2) edges of the graph."""
    return np.array(nx.fast_gnp_random_graph(VARIABLES, 0.5, seed=42).edges)


def max_cut(masks: np.ndarray) -> np.ndarray:
    """(b, 50) sides -> (b,) edges that are cut, negative."""
    first, second = edges().T
    return -(masks[:, first] != masks[:, second]).sum(axis=1).astype(float)


def vertex_cover(masks: np.ndarray) -> np.ndarray:
    """(b, 50) vertices -> (b,) their number, less 10 for every edge that one of them covers."""
    first, second = edges().T
    return masks.sum(axis=1) - 10.0 * (masks[:, first] | masks[:, second]).sum(axis=1)


def qubo_knapsack(masks: np.ndarray) -> np.ndarray:
    """(b, 50) choices -> (b,) profit, negative, and 10 times the squared distance of the weight from a mean one, less a constant."""
    state = np.random.RandomState(0)
    profits, weights = state.random_sample(VARIABLES) / 3, state.random_sample(VARIABLES)
    weight = masks @ weights
    return 10 * (weight**2 - 2 * weights.mean() * weight) - masks @ profits


PROBLEMS: dict[str, Energy] = {
    "knapsack": knapsack,
    "QUBO knapsack": qubo_knapsack,
    "Max-Cut": max_cut,
    "vertex cover": vertex_cover,
}


def minimum(energy: Energy, search: Protes, evaluations: int, seed: int) -> float:
    """The least energy that a search meets."""
    rng, seen = np.random.default_rng(seed), list[float]()

    def measure(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        if len(seen) >= evaluations:
            return None
        values = energy(masks)
        seen.extend(values.tolist())
        return masks, -values

    search.climb(MaskDistribution.random(VARIABLES, RANK, rng), measure, rng)
    return min(seen[:evaluations])


def measured(name: str, kind: str, evaluations: int, seeds: list[int]) -> dict[str, Any]:
    """One row of the table."""
    start = perf_counter()
    found = [minimum(PROBLEMS[name], SEARCHES[kind], evaluations, seed) for seed in seeds]
    seconds = (perf_counter() - start) / len(seeds)
    protes, rival = PUBLISHED[name]
    return {"problem": name, "search": kind, "found": found, "seconds": seconds, "protes": protes, "rival": rival}


def line(row: dict[str, Any]) -> str:
    """One line of the table."""
    low, middle, high = (f"{value(row['found']):.5g}" for value in (min, np.median, max))
    published = f"{row['protes']:.5g} | {row['rival']:.5g}"
    return f"| {row['problem']} | {row['search']} | {middle} ({low}..{high}) | {published} | {row['seconds']:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--json", type=Path, help="write the results here as well")
    arguments = parser.parse_args()
    evaluations, rows = SCALES[arguments.scale], []
    print(f"{evaluations} evaluations, seeds {arguments.seeds}; the optimum of the knapsack is -{knapsack_optimum()}\n")
    print("| problem | search | median (best..worst) | PROTES | rival | seconds a run |\n|---|---|---|---|---|---|")
    for name in tqdm(PROBLEMS, disable=None):
        for kind in SEARCHES:
            rows.append(measured(name, kind, evaluations, arguments.seeds))
            print(line(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
