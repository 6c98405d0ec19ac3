"""What the solvers promise, measured on seeded instances: exactness, gaps, times, memory.

    python scripts/bench_solvers.py --scale cpu --seeds 0 1 2 --json outputs/bench_solvers.json
    python scripts/bench_solvers.py --scale tiny --problems outputs/runs/RUN/problem.npz

Instances look like the activations of a network: ReLU of low rank and noise, a fifth of the filters near-duplicates, log-normal
amplitudes. The worth c of a filter is heavy tailed and goes with its amplitude; the couplings are cosines S >= 0, scaled per layer so that
with half of the filters the redundancy is ``beta`` times the mean worth. Kinds: plain, flat (all c equal), centred (cosines of centred
activations), duplicates (exact ones), dead (a tenth with c = S = 0), signed (cosines with their sign), attractive (groups of 8 that want
to stay together). Energies are ``-c . x + sum_{i<j} S_ij x_i x_j`` in what is kept; gaps are shares of their size. Times are CPU seconds
of this process; ratios are of one run, taken in turn.

--problems reads what runs were given: (n,) ``linear``, ``layer_of``, and the couplings within layers as a list ``i``, ``j``, ``weight``.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from tqdm import tqdm

from qprune_cli.problem.allocation import least_costs
from qprune_cli.problem.bound import lower_bound
from qprune_cli.problem.budget import Budget, layer_counts
from qprune_cli.problem.priced import dual, mask_from_profiles
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.profile import layer_profiles
from qprune_cli.scores import Pairs
from qprune_cli.solver.annealing import Annealing
from qprune_cli.solver.greedy import Greedy
from qprune_cli.solver.profile import Profile
from qprune_cli.solver.scip import Scip
from qprune_cli.solver.swap import Swap
from qprune_cli.types import FilterGroup, Layout

WIDTHS = {
    240: [16, 16, 32, 48, 128],
    960: [64, 64, 128, 128, 192, 384],
    4224: [64, 64, 128, 128, 256, 256, 256] + [512] * 6,
    10112: [64] * 7 + [128] * 7 + [192] + [256] * 10 + [384] + [512] * 11,
}
KINDS = {
    "beta 0.3": (0.3, "plain"),
    "beta 1": (1, "plain"),
    "beta 3": (3, "plain"),
    "beta 10": (10, "plain"),
    "flat c, beta 1": (1, "flat"),
    "flat c, beta 10": (10, "flat"),
    "centred": (1, "centred"),
    "duplicates": (1, "duplicates"),
    "dead": (1, "dead"),
    "signed": (1, "signed"),
    "attractive": (1, "attractive"),
}
REPEATS = 3  # times that a comparison is timed; the median counts
SAMPLES = 512  # activations per filter
# Sizes that gaps are measured at, widths of the enumerated layer and of the one that annealing is compared on, variables in the
# large problem, random instances, seconds for SCIP.
SCALES = {
    "tiny": {"sizes": [240, 960], "enumerated": 12, "wide": 128, "large": [128] * 40, "random": 100, "seconds": 10},
    "cpu": {"sizes": [240, 960, 4224, 10112], "enumerated": 20, "wide": 512, "large": [512] * 195 + [160], "random": 1000, "seconds": 60},
}
SCALES["gpu"] = SCALES["cpu"]  # nothing here runs on one
TARGETS = {240: 1.2e-3, 960: 5e-4, 4224: 1e-4, 10112: 1e-4}
Rows = list[dict[str, Any]]


def layer(rng: np.random.Generator, width: int, beta: float, kind: str = "plain") -> tuple[np.ndarray, np.ndarray]:
    """Worth (m,) and couplings (m, m) of one layer."""
    rank = max(2, width // 3)
    acts = rng.normal(size=(SAMPLES, rank)) @ rng.normal(size=(rank, width)) / np.sqrt(rank) + 0.3 * rng.normal(size=(SAMPLES, width))
    twins = rng.permutation(width)[: width // 5]
    noise = 0.0 if kind == "duplicates" else 0.1
    acts[:, twins] = acts[:, rng.integers(width, size=len(twins))] + noise * rng.normal(size=(SAMPLES, len(twins)))
    amplitude = rng.lognormal(0, 0.7, size=width)
    acts = np.maximum(acts, 0) * amplitude
    if kind == "dead":
        acts[:, rng.permutation(width)[: width // 10]] = 0
    if kind in ("centred", "signed"):
        acts = acts - acts.mean(axis=0)
    norm = np.linalg.norm(acts, axis=0)
    unit = acts / np.where(norm > 0, norm, 1)
    cosine = unit.T @ unit
    cosine = cosine if kind == "signed" else np.abs(cosine)
    np.fill_diagonal(cosine, 0)
    if kind == "attractive":
        group = rng.permutation(width) // 8
        cosine = np.where(group[:, None] == group[None], -cosine, cosine)
    parts = [amplitude * rng.lognormal(0, spread, size=width) for spread in (0.3, 0.8, 1.2)]  # as L1, Taylor and Fisher
    worth = sum(share * part / part.mean() for share, part in zip((0.3, 0.5, 0.2), parts, strict=True))
    worth = np.ones(width) if kind == "flat" else np.where(norm > 0, worth, 0.0)
    return worth, cosine * beta * worth.mean() / max(0.5 * np.abs(cosine).sum(axis=1).mean(), 1e-12)


def instance(widths: list[int], seed: int, beta: float = 1, kind: str = "plain", share: float = 0.5, floor: int = 1) -> PruningProblem:
    """A problem that keeps a share of the filters."""
    rng = np.random.default_rng(seed)
    worth, couplings = zip(*(layer(rng, width, beta, kind) for width in widths), strict=True)
    return problem_of(np.concatenate(worth) - np.concatenate([s.sum(axis=1) for s in couplings]), couplings, share, floor)


def problem_of(linear: np.ndarray, blocks: Any, share: float, floor: int = 1) -> PruningProblem:
    """A problem of damages that keeps a share of the filters."""
    layout = Layout(tuple(FilterGroup(f"layer{k}", f"gate{k}", len(block)) for k, block in enumerate(blocks)))
    return PruningProblem(layout, linear, Pairs(tuple(blocks)), Budget.share(layout, 1 - share, layer_counts(layout, floor)))


def priced(problem: PruningProblem, share: float) -> PruningProblem:
    """The same filters as a chain of 3x3 layers that keeps a share of its parameters."""
    starts = np.array([own[0] for own in problem.filters_of])

    def spend(keep: np.ndarray) -> float:
        sizes = [3, *np.add.reduceat(keep.astype(np.int64), starts).tolist(), 3]
        return float(9 * sum(a * b for a, b in pairwise(sizes)))

    fewest = np.concatenate([np.arange(len(own)) < 1 for own in problem.filters_of])
    limit = max(share * spend(np.ones(problem.layout.n, bool)), 1.01 * spend(fewest))
    return PruningProblem(problem.layout, problem.linear, problem.pairs, Budget("params", limit, problem.budget.counts, spend))


def energy(problem: PruningProblem, damage: float) -> float:
    """The energy of what is kept, from the damage of what is dropped."""
    return damage - float(problem.linear.sum()) - 0.5 * float(sum(block.sum() for block in problem.pairs.blocks))


def never_exceeded(count: int, seed: int) -> Rows:
    """Random instances of all kinds: is K exact, is the cost within its limit, and by how much is it missed."""
    rng, wrong, shares = np.random.default_rng(seed), 0, []
    solvers = [Profile(), Greedy(), Swap(chains=4, sweeps=2)]
    for k in tqdm(range(count), desc="random instances", disable=None):
        widths, (beta, kind) = rng.integers(2, 24, size=rng.integers(1, 5)).tolist(), KINDS[str(rng.choice(list(KINDS)))]
        problem = instance(widths, int(rng.integers(2**31)), beta, kind, share=rng.uniform(0.4, 1))
        problem = problem if k % 2 else priced(problem, rng.uniform(0.3, 1))
        for solver in solvers:
            keep = solver.solve(problem, k).keep
            wrong += not problem.feasible(keep)
            if not problem.budget.exact:
                shares.append(problem.budget.spent(keep) / problem.budget.limit)
    return [{"what": "instances", "value": count, "target": 1000}, {"what": "masks that break the budget", "value": wrong, "target": 0},
            {"what": "largest share of a cost used", "value": max(shares), "target": 1}]  # fmt: skip


def against_enumeration(width: int, seeds: list[int]) -> Rows:
    """Profiles of one layer against every mask of it."""
    rows = []
    for name, (beta, kind) in KINDS.items():
        exact, worst = [], 0.0
        for seed in seeds:
            problem = instance([width], seed, beta, kind, floor=0)
            least = enumerated(problem)
            error = (layer_profiles(problem)[0].damage - least) / np.ptp(least)
            exact.append(error < 1e-9)
            worst = max(worst, float(error.max()))
        rows.append({"what": name, "exact": float(np.mean(exact)), "worst": worst, "target": "0.95, 2e-3"})
    return rows


def enumerated(problem: PruningProblem) -> np.ndarray:
    """(m + 1,) the least damage of one layer at every count."""
    m, least = problem.layout.n, np.full(problem.layout.n + 1, np.inf)
    for first in range(0, 2**m, 2**16):
        keep = (np.arange(first, min(first + 2**16, 2**m))[:, None] >> np.arange(m) & 1).astype(bool)
        np.minimum.at(least, keep.sum(axis=1), problem.damage(keep))
    return least


def certified(sizes: list[int], seeds: list[int]) -> Rows:
    """How far the solution of the profiles can be from the best, by the certificate."""
    rows = []
    for size in sizes:
        for beta in (1, 3):
            gaps, seconds = [], []
            for seed in seeds:
                problem = instance(WIDTHS[size], seed, beta)
                damage = Profile().solve(problem, seed).damage
                start = process_time()
                bound = lower_bound(problem)
                seconds.append(process_time() - start)
                assert bound is not None and bound <= damage
                gaps.append((damage - bound) / abs(energy(problem, damage)))
            target = TARGETS[size] if beta == 1 else None
            rows.append({"n": size, "beta": beta, "gap": max(gaps), "gaps": gaps, "seconds": max(seconds), "target": target})
    return rows


def every_count(size: int, seeds: list[int]) -> Rows:
    """CPU seconds of the profiles and the best damage at every total."""
    rows = []
    for seed in seeds:
        problem = instance(WIDTHS[size], seed)
        start = process_time()
        chosen = layer_profiles(problem)
        middle = process_time()
        least = least_costs(problem.budget.counts, [profile.damage for profile in chosen])
        end = process_time()
        rows.append({"n": size, "totals": int(np.isfinite(least).sum()), "profiles": middle - start, "allocation": end - middle,
                     "seconds": end - start, "target": 3})  # fmt: skip
    return rows


def against_annealing(width: int, seeds: list[int]) -> Rows:
    """One wide layer: every number of filters by profiles, one of them by annealing and bisection."""
    rows = []
    for seed in seeds:
        problem = instance([width], seed)
        solved, seconds = {}, {"profile": [], "annealing": []}
        for _ in range(REPEATS):
            for name, solver in (("profile", Profile()), ("annealing", Annealing())):
                start = process_time()
                solved[name] = solver.solve(problem, seed).damage
                seconds[name].append(process_time() - start)
        seconds = {name: float(np.median(values)) for name, values in seconds.items()}
        energies = {name: energy(problem, damage) for name, damage in solved.items()}
        rows.append({"m": width, "seconds": seconds, "energies": energies, "faster": seconds["annealing"] / seconds["profile"],
                     "lower or equal": energies["profile"] <= energies["annealing"] + 1e-9, "target": 30})  # fmt: skip
    return rows


def proven(seconds: float, seeds: list[int]) -> Rows:
    """SCIP on layers of 32."""
    rows = []
    for beta in (1, 3, 10):
        for seed in seeds:
            problem = instance([32], seed, beta)
            solved, profile = Scip(seconds=seconds).solve(problem, seed), Profile().solve(problem, seed)
            rows.append({"beta": beta, "status": solved.notes["status"], "seconds": solved.seconds, "gap": solved.notes["relative_gap"],
                         "same as profile": bool(np.isclose(solved.damage, profile.damage)), "target": "optimal"})  # fmt: skip
    return rows


def coupled(sizes: list[int], seeds: list[int]) -> Rows:
    """Parameters of a chain as budget: share used, gap of the damage to the Lagrangian bound of the same profiles.

    Where the price is below 0, the bound is that of masks that cost as much as the one found.
    """
    rows = []
    for size, share, beta in product(sizes, (0.5, 0.25), (0.3, 1)):
        used, gaps, seconds, prices = [], [], [], []
        for seed in seeds:
            problem = priced(instance(WIDTHS[size], seed, beta), share)
            start = process_time()
            chosen = layer_profiles(problem)
            keep, found = mask_from_profiles(problem, chosen)
            seconds.append(process_time() - start)
            damage = float(problem.damage(keep[None])[0])
            assert found is not None
            spent = problem.budget.spent(keep)
            bound = dual(chosen, problem.prices, found.price, problem.budget.limit if found.price >= 0 else spent)
            used.append(spent / problem.budget.limit)
            gaps.append((damage - bound) / abs(energy(problem, damage)))
            prices.append(found.price)
        rows.append({"n": size, "share": share, "beta": beta, "used": min(used), "gap": max(gaps), "gaps": gaps, "price": min(prices),
                     "seconds": max(seconds), "target": 1e-3 if size < 960 else 5e-5})  # fmt: skip
    return rows


def memory(widths: list[int], seed: int) -> Rows:
    """Peak memory and time of a large problem, in an interpreter of its own (a fork inherits the peak of its parent)."""
    program = (
        "import resource, sys, json, time; sys.path.insert(0, sys.argv[1]); import bench_solvers as bench\n"
        "widths, seed = json.loads(sys.argv[2]); problem = bench.instance(widths, seed)\n"
        "built = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; start = time.process_time()\n"
        "solved = bench.Profile().solve(problem, seed); seconds = time.process_time() - start\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(json.dumps({'built': built / 2**20, 'peak': peak / 2**20, 'seconds': seconds, 'feasible': solved.feasible}))"
    )
    arguments = [sys.executable, "-c", program, str(Path(__file__).parent), json.dumps([widths, seed])]
    found = json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)
    return [{"n": sum(widths), "GiB after building": found["built"], "GiB": found["peak"], "seconds": found["seconds"],
             "feasible": found["feasible"], "target": 2}]  # fmt: skip


def real(paths: list[Path]) -> Rows:
    """Gaps and times on problems that runs have left."""
    rows = []
    for path in paths:
        with np.load(path) as file:
            widths = np.bincount(file["layer_of"])
            layout = Layout(tuple(FilterGroup(f"layer{k}", f"gate{k}", int(width)) for k, width in enumerate(widths)))
            blocks = Pairs.listed(layout, file["i"], file["j"], file["weight"]).blocks
            problem = problem_of(file["linear"].astype(np.float64), blocks, 0.5)
        for name, solver in (("greedy", Greedy()), ("profile", Profile()), ("swap", Swap())):
            start = process_time()
            damage = solver.solve(problem, 0).damage
            seconds = process_time() - start
            bound = lower_bound(problem)
            gap = None if bound is None else (damage - bound) / abs(energy(problem, damage))
            rows.append({"problem": str(path), "n": problem.layout.n, "solver": name, "damage": damage, "gap": gap, "seconds": seconds})
    return rows


def table(title: str, rows: Rows) -> str:
    """Rows as a markdown table."""
    names = [name for name in rows[0] if name != "gaps"]
    lines = [f"\n{title}\n", f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    return "\n".join(lines + [f"| {' | '.join(shown(row[name]) for name in names)} |" for row in rows])


def shown(value: Any) -> str:
    """A number with three digits, anything else as it is."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {shown(part)}" for name, part in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def measured(scale: dict[str, Any], seeds: list[int], paths: list[Path]) -> Iterator[tuple[str, Rows]]:
    """Everything, one table at a time."""
    yield "Budgets", never_exceeded(scale["random"], seeds[0])
    yield f"Profiles of {scale['enumerated']} filters against enumeration", against_enumeration(scale["enumerated"], seeds)
    yield "Certified gaps", certified(scale["sizes"], seeds)
    yield "Every number of filters", every_count(scale["sizes"][-1], seeds)
    yield "Profile against annealing with bisection", against_annealing(scale["wide"], seeds)
    yield "SCIP on layers of 32", proven(scale["seconds"], seeds)
    yield "Parameters of a chain", coupled(scale["sizes"], seeds)
    yield "Memory", memory(scale["large"], seeds[0])
    if paths:
        yield "Problems of runs", real(paths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="write the results here as well")
    parser.add_argument("--problems", type=Path, nargs="*", default=[], help="problem.npz files of runs")
    arguments = parser.parse_args()
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
    start, results = perf_counter(), {}
    for title, rows in measured(SCALES[arguments.scale], arguments.seeds, arguments.problems):
        results[title] = rows
        print(table(title, rows), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=2))
    print(f"\n{perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
