"""What re-fitting the weights in closed form is worth, for every solver: PSNR raw and compensated.

And whether it was ever taken where it hurt.

    python scripts/compensation.py --seeds 0 1 2 --json outputs/compensation.json
    QPRUNE_REAL_DATA=FOLDER python scripts/compensation.py --data sample sidd_native --models half_unet nafnet_narrow

Each seed draws calibration images, solver and sampled positions anew. Gains are paired, image by image, after the mean over seeds, with
95 % bootstrap intervals over the test images. "harmed" counts runs that took the compensation though the mean over the test images fell.
"""

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from baselines import data_overrides, interval
from tqdm import tqdm

from qprune_cli.compensate.ridge import Ridge
from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.device import pick_device
from qprune_cli.evaluate.interval import ci95
from qprune_cli.evaluate.masked import qualities, shrunk
from qprune_cli.evaluate.restoration import Restoration
from qprune_cli.graph.trace import trace
from qprune_cli.problem.budget import Budget, layer_counts
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.run.plan import RunPlan

SPARSITIES = (0.5, 0.65, 0.75)
METHODS = ("hybrid_qubo", "greedy_taylor", "greedy_fisher", "l1_qubo", "greedy_l1", "random")
SCALES = {"tiny": ["data.crops=8", "data.crop_size=48"], "cpu": [], "gpu": ["device=cuda"]}


def measure(model: str, data: str, overrides: list[str], seeds: list[int]) -> dict[str, Any]:
    """Prune, compensate and judge one network on one data set."""
    chosen = [f"model={model}", *([] if model == "half_unet_small" else [f"model.weights={model}"]), *data_overrides(data), *overrides]
    plans = {
        (method, seed): RunPlan.of(compose_jobs("run", [*chosen, f"solver={method}", f"seed={seed}"]).jobs[0])
        for method in METHODS
        for seed in seeds
    }
    first = plans[METHODS[0], seeds[0]]
    dense = first.model.load().to(pick_device(first.settings.device))
    layout = trace(dense)
    splits = {seed: first.data.load(seed) for seed in seeds}
    test = splits[seeds[0]].test
    rows: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for (method, seed), plan in tqdm(plans.items(), desc=f"{model}, {data}", disable=None):
        scores = plan.scorer.score(dense, layout, splits[seed], seed)
        for sparsity in SPARSITIES:
            problem = PruningProblem(layout, scores.linear, scores.pairs, Budget.share(layout, sparsity, layer_counts(layout, 1)))
            keep = plan.solver.solve(problem, seed).keep
            start = perf_counter()
            fitted, notes = Ridge().fit(dense, layout, keep, splits[seed], seed)
            seconds = perf_counter() - start
            networks = shrunk(dense, layout, {"raw": keep, "compensated": keep}, {"compensated": fitted})
            found = qualities(Restoration(), networks, test)
            rows.setdefault((method, sparsity), []).append(
                {"raw": found["raw"]["psnr"], "compensated": found["compensated"]["psnr"], "seconds": seconds, "seed": seed}
                | {name: notes[name] for name in ("accepted", "refinement_psnr")}
            )
    whole = float(qualities(Restoration(), {"dense": dense}, test)["dense"]["psnr"].mean())
    return {"model": model, "data": data, "images": len(test), "dense": whole, "rows": [row(*key, runs) for key, runs in rows.items()]}


def row(method: str, sparsity: float, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One line of the table."""
    raw, compensated = (np.mean([run[name] for run in runs], axis=0) for name in ("raw", "compensated"))
    gain = compensated - raw
    own = [float((run["compensated"] - run["raw"]).mean()) for run in runs]
    return {
        "method": method,
        "sparsity": sparsity,
        "raw": float(raw.mean()),
        "compensated": float(compensated.mean()),
        "gain": [float(gain.mean()), *ci95(gain)],
        "gains": own,
        "refinement": [run["refinement_psnr"] for run in runs],
        "accepted": sum(run["accepted"] for run in runs),
        "harmed": sum(run["accepted"] and change < 0 for run, change in zip(runs, own, strict=True)),
        "runs": len(runs),
        "seconds": float(np.mean([run["seconds"] for run in runs])),
    }


def table(result: dict[str, Any]) -> str:
    """The results as a markdown table."""
    lines = [
        f"\n{result['model']} on {result['data']}: {result['images']} test images, dense {result['dense']:.2f} dB\n",
        "| sparsity | method | raw | compensated | gain | accepted | harmed | s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for sparsity in SPARSITIES:
        for r in (r for r in result["rows"] if r["sparsity"] == sparsity):
            lines.append(
                f"| {sparsity} | {r['method']} | {r['raw']:.2f} | {r['compensated']:.2f} | {interval(r['gain'])} "
                f"| {r['accepted']} of {r['runs']} | {r['harmed']} | {r['seconds']:.0f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="write the results here as well")
    parser.add_argument("--data", nargs="+", choices=["sample", "sidd_native"], default=["sample"])
    parser.add_argument("--models", nargs="+", default=None, help="shipped networks (half_unet; half_unet_small with --scale tiny)")
    arguments = parser.parse_args()
    results = []
    for model in arguments.models or ["half_unet_small" if arguments.scale == "tiny" else "half_unet"]:
        for data in arguments.data:
            results.append(measure(model, data, SCALES[arguments.scale], arguments.seeds))
            print(table(results[-1]), flush=True)
            if arguments.json:
                arguments.json.parent.mkdir(parents=True, exist_ok=True)
                arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
