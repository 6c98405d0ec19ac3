"""Refiners against each other, from the same masks, at equal evaluations and at equal time.

    python scripts/bench_refine.py --json outputs/refine.json
    python scripts/bench_refine.py --cases "whole 0.8" --refiners sequential

Sub-problems of 2, 4 and 8 layers of the Half-UNet (only these lose filters) with 200 evaluations, and the whole network at 0.65 and 0.8
with 1,000 and 500. Every refiner starts from the mask of the same solver and sees the same images; the curve of a refiner is the mask
that it would have returned had it been stopped there. Gains are means over the seeds, their 95 % intervals are taken over the test images,
paired.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from qprune_cli.clock import Clock
from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.device import pick_device
from qprune_cli.evaluate.interval import ci95
from qprune_cli.evaluate.quality import outputs, psnr
from qprune_cli.evaluate.task import task_of
from qprune_cli.replay.metric import MaskMetric
from qprune_cli.run.job import Job, prepare
from qprune_cli.run.plan import RunPlan
from qprune_cli.run.rounds import select
from qprune_cli.search.evaluations import EvaluationLog, Incumbent
from qprune_cli.surgery.shrink import shrink
from qprune_cli.types import Bools, Floats

EVERY = ("sequential", "gradient", "descent", "tensor_train", "random")
BEST = ("sequential", "tensor_train", "gradient")
LAYERS = {2: ["encoder.0.*"], 4: ["encoder.0.*", "encoder.1.*"], 8: ["encoder.0.*", "encoder.1.*", "encoder.2.*", "encoder.3.*"]}
MARKS = (25, 50, 100, 200, 500, 1000)  # evaluations at which curves are read


@dataclass(frozen=True)
class Case:
    """A problem, who is to refine its mask, and what they may spend."""

    settings: tuple[str, ...]
    refiners: tuple[str, ...]
    evaluations: int


def layers(count: int, sparsity: float) -> Case:
    """A sub-problem: only some layers lose filters, that share of theirs."""
    return Case((f"include=[{','.join(LAYERS[count])}]", f"sparsity={sparsity}"), EVERY, 200)


CASES = {
    **{f"{count} layers 0.36": layers(count, 0.36) for count in LAYERS},
    "8 layers 0.65": layers(8, 0.65),
    "whole 0.65": Case(("sparsity=0.65",), BEST, 1000),
    "whole 0.8": Case(("sparsity=0.8",), BEST[:1], 500),
    "whole 0.65, 8 rounds": Case(("sparsity=0.65", "rounds=8"), BEST[:1], 500),
    "whole 0.8, 8 rounds": Case(("sparsity=0.8", "rounds=8"), BEST[:1], 500),
}
SCALES: dict[str, tuple[tuple[str, ...], float]] = {
    "tiny": (("model=half_unet_small", "data.crops=8", "data.crop_size=48"), 0.1),
    "cpu": ((), 1.0),
    "gpu": (("device=cuda", "data.crops=256"), 5.0),
}


def planned(*overrides: str) -> RunPlan:
    """A composed run."""
    return RunPlan.of(compose_jobs("run", [*overrides, "fidelity=0", "certify=false", "compensate=none", "latency=false"]).jobs[0])


def test_psnr(job: Job, keep: Bools) -> Floats:
    """(N,) PSNR of the test images."""
    small, images = shrink(job.dense, job.layout, keep), job.splits.test
    return np.array([psnr(result, pair.target) for result, pair in zip(outputs(small, images), images.pairs, strict=True)])


def rows(case: str, refiners: list[str] | None, seeds: list[int], settings: tuple[str, ...], share: float) -> Iterator[dict[str, Any]]:
    """One row for each seed and refiner."""
    asked = CASES[case]
    for seed in seeds:
        plan = planned(*settings, *asked.settings, f"seed={seed}")
        dense = plan.model.load().to(pick_device(plan.settings.device))
        job = prepare(plan.settings, dense, plan.data.load(seed), plan.model.keep_layers, plan.model.wrap)
        selected = select(plan, dense, job.layout, job.splits, job.budgets, Clock())
        start, known = selected.solution, dict[bytes, Floats]()
        full = test_psnr(job, np.ones(job.layout.n, bool))
        for name in refiners or asked.refiners:
            refiner = replace(planned(f"refine={name}").refine, evaluations=max(20, int(share * asked.evaluations)))  # type: ignore[type-var]
            log = EvaluationLog(MaskMetric(task_of(job.splits), dense, job.layout, job.splits.refinement, dense), start.keep)
            refined = refiner.refine(selected.problem, start, log, seed)
            curve = list(bests(log.incumbents))
            for point in curve:
                known.setdefault(point.keep.tobytes(), test_psnr(job, point.keep))
            tests = [known[point.keep.tobytes()] for point in curve]
            yield {
                "case": case,
                "refiner": name,
                "seed": seed,
                "seconds": log.trace[-1]["seconds"],
                "notes": {key: refined.notes[key] for key in ("evaluations", "gradients", "moves", "swapped", "stopped")},
                "dense": full.tolist(),
                "curve": [
                    {"spent": p.spent, "seconds": p.seconds, "tuned": p.tuned, "held_out": p.held_out, "test": t.tolist()}
                    for p, t in zip(curve, tests, strict=True)
                ],
            }


def bests(incumbents: list[Incumbent]) -> Iterator[Incumbent]:
    """The masks that would have been returned, as a search went on."""
    best: Incumbent | None = None
    for one in incumbents:
        if best is None or one.held_out > best.held_out:
            best = one
            yield one


def gain(row: dict[str, Any], part: str, axis: str, mark: float) -> Any:
    """What a refiner had gained on some images when it had spent so much."""
    reached = [point for point in row["curve"] if point[axis] <= mark] or row["curve"][:1]
    return np.asarray(reached[-1][part]) - np.asarray(row["curve"][0][part])


def told(found: list[dict[str, Any]]) -> str:
    """Tables of one case: gains at the end, at equal evaluations, and at equal time."""
    names = list(dict.fromkeys(row["refiner"] for row in found))
    lost = np.mean([np.mean(row["dense"]) - np.mean(row["curve"][0]["test"]) for row in found])
    lines = [f"\n{found[0]['case']}: the start is {lost:.2f} dB below the dense network on the test images"]
    lines += ["| refiner | tuned | held out | test (95 % interval) | exchanges | evaluations | seconds |", "|---|---|---|---|---|---|---|"]
    for name in names:
        own = [row for row in found if row["refiner"] == name]
        tuned, held = (np.mean([gain(row, part, "spent", np.inf) for row in own]) for part in ("tuned", "held_out"))
        images = np.mean([gain(row, "test", "spent", np.inf) for row in own], axis=0)
        low, high = ci95(images)
        means = [np.mean([row["notes"][key] for row in own]) for key in ("swapped", "evaluations")]
        seconds = np.mean([row["seconds"] for row in own])
        ends = f"{means[0]:.0f} | {means[1]:.0f} | {seconds:.0f}"
        lines.append(f"| {name} | {tuned:+.2f} | {held:+.2f} | {images.mean():+.2f} ({low:+.2f} to {high:+.2f}) | {ends} |")
    quickest = min(row["seconds"] for row in found)
    marks = [mark for mark in MARKS if mark <= max(row["notes"]["evaluations"] for row in found)]
    lines += ["", f"| held out / test after | {' | '.join(map(str, marks))} | {quickest:.0f} s |", "|---" * (len(marks) + 2) + "|"]
    for name in names:
        own = [row for row in found if row["refiner"] == name]
        places = [("spent", float(mark)) for mark in marks] + [("seconds", quickest)]
        cells = [" / ".join(f"{np.mean([gain(row, part, *at) for row in own]):+.2f}" for part in ("held_out", "test")) for at in places]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="write the results here as well, after every row")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--refiners", nargs="+", choices=EVERY, help="others than each case has")
    parser.add_argument("overrides", nargs="*", help="further settings, such as model=dncnn")
    arguments = parser.parse_intermixed_args()
    settings, share = SCALES[arguments.scale]
    found: dict[str, list[dict[str, Any]]] = {}
    for case in arguments.cases:
        for row in rows(case, arguments.refiners, arguments.seeds, (*settings, *arguments.overrides), share):
            found.setdefault(case, []).append(row)
            last = {part: round(float(np.mean(gain(row, part, "spent", np.inf))), 3) for part in ("tuned", "held_out", "test")}
            shown = {key: row[key] for key in ("case", "refiner", "seed")} | last | row["notes"]
            print(shown | {"seconds": round(row["seconds"])}, flush=True)
            if arguments.json:
                arguments.json.parent.mkdir(parents=True, exist_ok=True)
                arguments.json.write_text(json.dumps(found, indent=1))
        print(told(found[case]), flush=True)


if __name__ == "__main__":
    main()
