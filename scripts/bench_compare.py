"""How long `qprune compare` takes for many runs.

    python scripts/bench_compare.py --json outputs/bench_compare.json

Writes run folders of a sweep (solvers x sparsities x seeds) with made-up qualities and the files and settings of real ones, and puts
them side by side with a baseline, in a fresh process each time, as a user would. "read" is the same command with a selection of
two runs, so all folders are read and hardly anything is computed.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import yaml

from qprune_cli.compose.jobs import compose_jobs

SCALES = {"tiny": ((20, 18), (20, 200)), "cpu": ((200, 18), (200, 1280)), "gpu": ((200, 1280), (1000, 1280), (200, 10_000))}  # runs, images
SOLVERS = ("greedy_taylor", "hybrid_qubo", "greedy_fisher", "greedy_l1")
STAGES = {"identity": -10.0, "dense": 0.0, "solved": -1.0, "refined": -0.9, "compensated": -0.5}
PER_ROW = 5  # seeds


def write_runs(root: Path, runs: int, images: int, seed: int) -> None:
    """Write finished runs, four solvers at as many sparsities as it takes."""
    rng = np.random.default_rng(seed)
    dense = rng.normal(33, 3, images)
    composed = {solver: compose_jobs("run", [f"solver={solver}"]).jobs[0] for solver in SOLVERS}
    for k in range(runs):
        solver, row = SOLVERS[k // PER_ROW % len(SOLVERS)], k // PER_ROW // len(SOLVERS)
        settings = composed[solver].settings | {"sparsity": round(0.1 + 0.005 * row, 3), "seed": k % PER_ROW}
        folder = root / f"run_{k}"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(settings | {"components": composed[solver].components}, sort_keys=False))
        with (folder / "images.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "stage", "psnr", "ssim"])
            for stage, shift in STAGES.items():
                values = dense + shift + (rng.normal(0, 0.1, images) if stage not in ("identity", "dense") else 0)
                writer.writerows([f"scene_{i:05d}", stage, value, value / 50] for i, value in enumerate(values.tolist()))
        sizes = {"params": 408195, "macs": 8977907712, "filters": 768}
        metrics = {"schema": 1, "stages": {stage: sizes for stage in STAGES if stage != "identity"}}
        metrics |= {"sparsity": {"asked": 0.5, "got": 0.5, "budget": "filters"}, "fidelity": {}, "warnings": []}
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=2))
        swaps = {"true": rng.normal(size=40).tolist(), "predicted": rng.normal(size=40).tolist()}
        (folder / "solution.json").write_text(json.dumps({"gap": 0.01, "fidelity": swaps}, indent=2))
        manifest = {"versions": {}, "seconds": {"score": 1.0}, "sha256": {"weights": "a"}, "files": {}}
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))


def seconds(*arguments: str) -> float:
    """How long a command takes, its start included."""
    start = perf_counter()
    subprocess.run([sys.executable, "-m", "qprune_cli", "compare", *arguments], check=True, capture_output=True)
    return perf_counter() - start


def measure(runs: int, images: int, seed: int) -> dict[str, Any]:
    """Seconds for so many runs."""
    root = Path(tempfile.mkdtemp())
    try:
        write_runs(root, runs, images, seed)
        read = seconds(str(root), "sparsity=0.1", "seed=0")
        return {
            "runs": runs,
            "images": images,
            "seed": seed,
            "read": read,
            "seconds": seconds(str(root), "--baseline", f"solver={SOLVERS[0]}"),
        }
    finally:
        shutil.rmtree(root)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the made-up numbers")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    arguments = parser.parse_args()
    print("| runs | images | seed | read, s | with baseline, s |")
    print("|---|---|---|---|---|")
    results = []
    for runs, images in SCALES[arguments.scale]:
        for seed in arguments.seeds:
            found = measure(runs, images, seed)
            results.append(found)
            print(f"| {runs} | {images} | {seed} | {found['read']:.2f} | {found['seconds']:.2f} |", flush=True)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
