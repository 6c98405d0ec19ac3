"""What refinement is worth once the weights are re-fitted, and whether it pays to refine for the re-fitted network.

    python scripts/refine_compensated.py --json outputs/refine_compensated.json

For each seed and sparsity the solver's mask is left as it is, refined as silenced, and refined as compensated, with the same
evaluations; then each is compensated in full. PSNR on the test images in dB, raw and re-fitted; gains of the re-fitted networks over the
unrefined one are paired over the test images (95 % interval).
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from qprune_cli.clock import Clock
from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.device import pick_device
from qprune_cli.evaluate.interval import ci95
from qprune_cli.evaluate.masked import qualities, shrunk
from qprune_cli.evaluate.task import task_of
from qprune_cli.regression.objective import objective_metric
from qprune_cli.run.job import prepare
from qprune_cli.run.plan import RunPlan
from qprune_cli.run.rounds import select
from qprune_cli.search.evaluations import EvaluationLog

WAYS = {"none": ["refine=none"], "silenced": ["refine=sequential", "refine.objective=silenced"], "compensated": ["refine=sequential"]}
SCALES: dict[str, dict[str, Any]] = {
    "tiny": {"settings": ["model=half_unet_small", "data.crops=8", "data.crop_size=48"], "evaluations": 30, "sparsities": (0.75,)},
    "cpu": {"settings": [], "evaluations": 200, "sparsities": (0.65, 0.8)},
    "gpu": {"settings": ["device=cuda", "data.crops=256"], "evaluations": 1000, "sparsities": (0.5, 0.65, 0.8)},
}


def rows(settings: list[str], sparsity: float, seed: int, evaluations: int) -> Iterator[dict[str, Any]]:
    """One row for each way to refine."""
    base = [*settings, f"sparsity={sparsity}", f"seed={seed}", "fidelity=0", "certify=false", "latency=false"]
    plan = RunPlan.of(compose_jobs("run", base).jobs[0])
    dense = plan.model.load().to(pick_device(plan.settings.device))
    job = prepare(plan.settings, dense, plan.data.load(seed), plan.model.keep_layers, plan.model.wrap)
    selected = select(plan, dense, job.layout, job.splits, job.budgets, Clock())
    start = selected.solution
    for way, chosen in WAYS.items():
        budget = [] if way == "none" else [f"refine.evaluations={evaluations}"]
        refiner = RunPlan.of(compose_jobs("run", [*base, *chosen, *budget]).jobs[0]).refine
        begun = perf_counter()
        metric = objective_metric(refiner.objective, plan.compensate, dense, job.layout, start.keep, job.splits, seed)
        refined = refiner.refine(selected.problem, start, EvaluationLog(metric, start.keep), seed)
        seconds = perf_counter() - begun
        fitted, _ = plan.compensate.fit(dense, job.layout, refined.keep, job.splits, seed)
        networks = shrunk(dense, job.layout, {"raw": refined.keep, "fitted": refined.keep}, {"fitted": fitted})
        found = {name: quality["psnr"].tolist() for name, quality in qualities(task_of(job.splits), networks, job.splits.test).items()}
        yield {
            "sparsity": sparsity,
            "seed": seed,
            "refined": way,
            "seconds": seconds,
            "swapped": int((refined.keep != start.keep).sum()) // 2,
        } | found


def table(found: list[dict[str, Any]]) -> str:
    """Means over the seeds."""
    lines = ["| sparsity | refined as | raw | re-fitted | gain when re-fitted | seconds |", "|---|---|---|---|---|---|"]
    for sparsity in dict.fromkeys(row["sparsity"] for row in found):
        for way in WAYS:
            own, base = ([r for r in found if r["sparsity"] == sparsity and r["refined"] == name] for name in (way, "none"))
            raw, fitted, before = (
                np.mean([row[key] for row in part], axis=0) for key, part in (("raw", own), ("fitted", own), ("fitted", base))
            )
            low, high = ci95(fitted - before)
            gain = "" if way == "none" else f"{np.mean(fitted - before):+.2f} ({low:+.2f} to {high:+.2f})"
            seconds = np.mean([row["seconds"] for row in own])
            lines.append(f"| {sparsity} | {way} | {raw.mean():.2f} | {fitted.mean():.2f} | {gain} | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="write the results here as well, after every row")
    parser.add_argument("overrides", nargs="*", help="further settings, such as model=dncnn")
    arguments = parser.parse_intermixed_args()
    scale, found = SCALES[arguments.scale], list[dict[str, Any]]()
    for sparsity in scale["sparsities"]:
        for seed in arguments.seeds:
            for row in rows([*scale["settings"], *arguments.overrides], sparsity, seed, scale["evaluations"]):
                found.append(row)
                print(
                    {key: round(float(np.mean(v)), 3) if key in ("raw", "fitted", "seconds") else v for key, v in row.items()}, flush=True
                )
                if arguments.json:
                    arguments.json.parent.mkdir(parents=True, exist_ok=True)
                    arguments.json.write_text(json.dumps(found, indent=1))
    print(f"\n{table(found)}")


if __name__ == "__main__":
    main()
