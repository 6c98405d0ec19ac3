"""Hybrid QUBO against every baseline: quality at equal numbers of filters, with paired intervals.

    python scripts/baselines.py --seeds 0 1 2 --json outputs/baselines.json
    QPRUNE_REAL_DATA=FOLDER python scripts/baselines.py --data sample sidd_native

``sidd_native`` is a folder below QPRUNE_REAL_DATA with train/ and val/, each of <name>_noisy.png and <name>_gt.png.

Every method prunes the same network and is judged on the same test images. Where calibration or solver are random, each seed
draws both anew; ``random`` is drawn ten times. Differences are paired: image by image, after the mean over seeds. A 95 %
bootstrap interval over the images that holds 0 means no difference. It holds what differs between images, not between seeds (the
range over seeds stands beside it), and blocks of one photograph are counted as images of their own.

"taylor + pairs" is greedy_taylor plus the quadratic term alone: with beta = 0 the two are the same mask.
"""

import argparse
import json
import os
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from tqdm import tqdm

from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.cost.cost import Cost
from qprune_cli.device import pick_device
from qprune_cli.evaluate.interval import ci95
from qprune_cli.evaluate.masked import qualities, shrunk
from qprune_cli.evaluate.quality import judge
from qprune_cli.evaluate.restoration import Restoration
from qprune_cli.graph.trace import trace
from qprune_cli.problem.budget import Budget, layer_counts
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.run.plan import RunPlan
from qprune_cli.types import REFERENCE_SIDE

SPARSITIES = (0.36, 0.5, 0.65, 0.75)
OURS, TAYLOR = "hybrid_qubo", "greedy_taylor"
METHODS = {
    OURS: ["solver=hybrid_qubo"],
    "hybrid, beta=1": ["solver=hybrid_qubo", "scorer.beta=1"],
    "hybrid, beta=0": ["solver=hybrid_qubo", "scorer.beta=0"],
    "taylor + pairs": ["solver=hybrid_qubo", "scorer.taylor=1", "scorer.fisher=0"],
    TAYLOR: ["solver=greedy_taylor"],
    "greedy_fisher": ["solver=greedy_fisher"],
    "l1_qubo": ["solver=l1_qubo"],
    "greedy_l1": ["solver=greedy_l1"],
    "random": ["solver=random"],
}
SCALES = {"tiny": ["model=half_unet_small", "data.crops=8", "data.crop_size=48"], "cpu": [], "gpu": ["device=cuda", "data.crops=256"]}
RANDOM_DRAWS = 10


def data_overrides(name: str) -> list[str]:
    """Settings that choose the images."""
    if name == "sample":
        return ["data=sample"]
    root = Path(os.environ.get("QPRUNE_REAL_DATA", "")) / name
    return ["data=pairs", f"data.root={root}/train", f"data.test_root={root}/val", "data.clean='*_gt.*'", "data.shares=[0,0.5,0.5,0]"]


def seeds_of(method: str, seeds: list[int]) -> Iterable[int]:
    """Ten draws of random masks, one of what nothing random enters, the asked seeds otherwise."""
    return range(RANDOM_DRAWS) if method == "random" else seeds[:1] if method == "greedy_l1" else seeds


def measure(name: str, overrides: list[str], seeds: list[int]) -> dict[str, Any]:
    """Prune and judge everything on one data set."""
    plans = {
        (method, seed): RunPlan.of(compose_jobs("run", [*data_overrides(name), *overrides, *chosen, f"seed={seed}"]).jobs[0])
        for method, chosen in METHODS.items()
        for seed in seeds_of(method, seeds)
    }
    first = plans[OURS, seeds[0]]
    dense = first.model.load().to(pick_device(first.settings.device))
    layout = trace(dense)
    cost = Cost(dense, layout, (first.model.channels, REFERENCE_SIDE, REFERENCE_SIDE))
    splits = {seed: first.data.load(seed) for seed in seeds}
    test = splits[seeds[0]].test
    keep, dead, seconds = {}, [], {}
    for (method, seed), plan in tqdm(plans.items(), desc=f"{name}: solve", disable=None):
        start = perf_counter()
        scores = plan.scorer.score(dense, layout, splits.get(seed, splits[seeds[0]]), seed)
        dead += [float(scores.dead.mean())] if method == OURS else []
        for sparsity in SPARSITIES:
            budget = Budget.share(layout, sparsity, layer_counts(layout, plan.settings.floor))
            problem = PruningProblem(layout, scores.linear, scores.pairs, budget)
            keep[method, sparsity, seed] = plan.solver.solve(problem, seed).keep
        seconds[method] = seconds.get(method, 0) + (perf_counter() - start) / len(SPARSITIES)
    psnr, ssim = {}, {}
    for key, mask in tqdm(keep.items(), desc=f"{name}: judge", disable=None):
        quality = qualities(Restoration(), shrunk(dense, layout, {"pruned": mask}), test)["pruned"]
        psnr[key], ssim[key] = quality["psnr"], quality["ssim"]
    whole = qualities(Restoration(), {"dense": dense}, test)["dense"]
    noisy = judge([pair.input for pair in test.pairs], test)
    rows = [
        row(method, sparsity, list(seeds_of(method, seeds)), keep, psnr, ssim, cost)
        | {"seconds": seconds[method] / len(list(seeds_of(method, seeds)))}
        for sparsity in SPARSITIES
        for method in METHODS
    ]
    return {
        "data": name,
        "images": len(test),
        "dead": dead,
        "noisy": {"psnr": noisy["psnr"].mean(), "ssim": noisy["ssim"].mean()},
        "dense": {"psnr": whole["psnr"].mean(), "ssim": whole["ssim"].mean()},
        "rows": rows,
    }


def row(method: str, sparsity: float, seeds: list[int], keep: Any, psnr: Any, ssim: Any, cost: Cost) -> dict[str, Any]:
    """One line of the table: quality, size, and how far hybrid_qubo is ahead."""
    runs = [psnr[method, sparsity, seed] for seed in seeds]
    means = {
        other: np.mean([v for (name, s, _), v in psnr.items() if (name, s) == (other, sparsity)], axis=0)
        for other in (OURS, TAYLOR, method)
    }
    behind, over = means[OURS] - means[method], means[method] - means[TAYLOR]
    sizes = [cost.footprint(keep[method, sparsity, seed]) for seed in seeds]
    kept = {size.filters for size in sizes}
    assert len(kept) == 1, "every seed keeps the same number of filters"
    return {
        "sparsity": sparsity,
        "method": method,
        "kept": kept.pop(),
        "psnr": float(np.mean(runs)),
        "psnr_range": [float(np.mean(values)) for values in (min(runs, key=np.mean), max(runs, key=np.mean))],
        "ssim": float(np.mean([ssim[method, sparsity, seed] for seed in seeds])),
        "params": float(np.mean([size.params for size in sizes])),
        "macs": float(np.mean([size.macs for size in sizes])),
        f"{OURS}_ahead": [float(behind.mean()), *ci95(behind)],
        f"over_{TAYLOR}": [float(over.mean()), *ci95(over)],
    }


def table(result: dict[str, Any]) -> str:
    """The results as a markdown table."""
    lines = [
        f"\n{result['data']}: {result['images']} test images; noisy {result['noisy']['psnr']:.2f} dB, {result['noisy']['ssim']:.4f}; "
        f"dense {result['dense']['psnr']:.2f} dB, {result['dense']['ssim']:.4f}; "
        f"dead on the calibration images: {', '.join(f'{share:.1%}' for share in result['dead'])} of the filters\n",
        f"| sparsity | method | kept | PSNR (range over seeds) | SSIM | params | GMACs | {OURS} ahead by | ahead of {TAYLOR} by | s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in result["rows"]:
        worst, best = r["psnr_range"]
        paired = " | ".join(interval(r[name]) for name in (f"{OURS}_ahead", f"over_{TAYLOR}"))
        lines.append(
            f"| {r['sparsity']} | {r['method']} | {r['kept']} | {r['psnr']:.2f} ({worst:.2f} to {best:.2f}) "
            f"| {r['ssim']:.4f} | {r['params']:,.0f} | {r['macs'] / 1e9:.2f} | {paired} | {r['seconds']:.1f} |"
        )
    return "\n".join(lines)


def interval(paired: list[float]) -> str:
    """A paired difference with its 95 % interval; "none" where that holds 0."""
    mean, low, high = paired
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]" + (" none" if low <= 0 <= high else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="write the results here as well")
    parser.add_argument("--data", nargs="+", choices=["sample", "sidd_native"], default=["sample"])
    parser.add_argument("overrides", nargs="*", help="further settings, such as model.weights=FILE")
    arguments = parser.parse_intermixed_args()
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
    start = perf_counter()
    results = []
    for name in arguments.data:
        results.append(measure(name, [*SCALES[arguments.scale], *arguments.overrides], arguments.seeds))
        print(table(results[-1]), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=2))
    print(f"\n{perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
