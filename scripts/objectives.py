"""Do the scores predict the loss, and what are the masks worth: every scorer, at the dense network and at the mask.

    python scripts/objectives.py --part fidelity --json outputs/fidelity.json
    python scripts/objectives.py --part psnr --json outputs/psnr.json

fidelity: for each network, sparsity and seed, 40 random swaps around the mask of greedy_taylor; the rank correlation between the change of
the loss that each objective predicts and the true one, on calibration images. "dense": scores of the dense network; "mask": the same scores
taken at the mask. Where QPRUNE_REAL_DATA names a folder with mnist/, a small classifier is trained on it and judged as well.

psnr: solvers and rounds against each other on one network, raw and compensated, with leave-one-out and ten random masks beside: PSNR on
the calibration images, on the refinement images, which nothing has seen, and on the test images.
"""

import argparse
import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from qprune_cli.clock import Clock
from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.device import pick_device
from qprune_cli.evaluate.fidelity import correlation, mean_loss
from qprune_cli.evaluate.masked import qualities, shrunk
from qprune_cli.evaluate.task import task_of
from qprune_cli.graph.trace import trace
from qprune_cli.problem.budget import Budget, layer_counts
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.run.budgets import budgets
from qprune_cli.run.plan import RunPlan
from qprune_cli.run.rounds import select
from qprune_cli.search.moves import random_swaps
from qprune_cli.types import REFERENCE_SIDE, ImageSet, Layout, Pair, Splits

SPARSITIES = (0.5, 0.65, 0.75)
SWAPS, JUDGED, RANDOM_DRAWS = 40, 24, 10
OBJECTIVES = {
    "l1": ["scorer=l1"],
    "taylor": ["scorer=taylor"],
    "fisher": ["scorer=fisher"],
    "snip": ["scorer=snip"],
    "reconstruction": ["scorer=reconstruction"],
    "hybrid": ["scorer=hybrid"],
    "gram": ["scorer=gram"],
    "gram, slope of the loss": ["scorer=gram", "scorer.slope=loss"],
    "gram, within layers": ["scorer=gram", "scorer.reach=layer"],
    "gram, gate gradients": ["scorer=gram", "scorer.slope=loss", "scorer.probes=0"],
    "leave_one_out": ["scorer=leave_one_out"],
}
METHODS = {
    "hybrid_qubo": ["solver=hybrid_qubo"],
    "hybrid, profile": ["solver=profile", "scorer=hybrid"],
    "greedy_taylor": ["solver=greedy_taylor"],
    "greedy_taylor, 8 rounds": ["solver=greedy_taylor", "rounds=8"],
    "gram, profile": ["solver=profile", "scorer=gram", "scorer.reach=layer"],
    "gram, swap": ["solver=swap", "scorer=gram"],
    "gram, swap, 8 rounds": ["solver=swap", "scorer=gram", "rounds=8"],
    "leave_one_out, 4 rounds": ["solver=greedy", "scorer=leave_one_out", "rounds=4"],
    "random": ["solver=random"],
}
SCALES: dict[str, dict[str, Any]] = {
    "tiny": {"networks": ["half_unet_small"], "psnr": "half_unet_small", "overrides": ["data.crops=8", "data.crop_size=48"]},
    "cpu": {"networks": ["half_unet_small", "half_unet", "dncnn", "nafnet_narrow"], "psnr": "half_unet", "overrides": []},
}
SCALES["gpu"] = SCALES["cpu"] | {"overrides": ["device=cuda", "data.crops=256"]}
EXACT_UP_TO = 1000  # filters: leave-one-out of larger networks takes too long


def planned(*overrides: str) -> RunPlan:
    """A composed run."""
    return RunPlan.of(compose_jobs("run", list(overrides)).jobs[0])


def classifier(seed: int) -> tuple[nn.Module, Layout, Splits] | None:
    """A small convolutional network trained on MNIST, and its calibration images; None where there is no MNIST."""
    folder = Path(os.environ.get("QPRUNE_REAL_DATA", "")) / "mnist"
    if not (folder / "train-images-idx3-ubyte.gz").is_file():
        return None
    raw = {name: gzip.decompress((folder / f"train-{name}.gz").read_bytes()) for name in ("images-idx3-ubyte", "labels-idx1-ubyte")}
    images = np.frombuffer(raw["images-idx3-ubyte"], np.uint8, offset=16).reshape(-1, 1, 28, 28).astype(np.float32) / 255
    labels = np.frombuffer(raw["labels-idx1-ubyte"], np.uint8, offset=8).astype(np.int64)
    torch.manual_seed(0)
    stages: list[nn.Module] = []
    for reads, gives in ((1, 16), (16, 32), (32, 64)):
        stages += [nn.Conv2d(reads, gives, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*stages, nn.Flatten(), nn.Linear(64 * 9, 10))
    optimiser, rng = torch.optim.Adam(model.parameters(), 2e-3), np.random.default_rng(0)
    for _ in range(600):
        chosen = rng.integers(50000, size=64)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(torch.from_numpy(images[chosen])), torch.from_numpy(labels[chosen])).backward()
        optimiser.step()
    shown = 50000 + np.random.default_rng(seed).choice(10000, 256, replace=False)
    calibration = ImageSet([Pair(str(k), images[k], labels[k]) for k in shown])
    splits = planned("data.crops=4", "data.crop_size=32").data.load(seed)
    return model.eval(), trace(model, torch.empty(1, 1, 28, 28)), replace(splits, calibration=calibration)


def subjects(names: list[str], overrides: list[str], seed: int) -> Iterator[tuple[str, nn.Module, Layout, Splits, str, int]]:
    """Networks with their images, loss, and number of images that swaps are judged on."""
    for name in names:
        plan = planned(f"model={name}", *overrides)
        dense = plan.model.load().to(pick_device(plan.settings.device))
        yield name, dense, trace(dense), plan.data.load(seed), "psnr", JUDGED
    if (found := classifier(seed)) is not None:
        yield "mnist classifier", *found, "cross_entropy", 256


def fidelities(names: list[str], overrides: list[str], seeds: list[int]) -> Iterator[dict[str, Any]]:
    """One row per network, seed, sparsity and objective."""
    for seed in seeds:
        for name, dense, layout, splits, loss, judged in subjects(names, overrides, seed):
            plans = {
                key: planned(*chosen, f"loss={loss}", *overrides)
                for key, chosen in OBJECTIVES.items()
                if key != "leave_one_out" or layout.n <= EXACT_UP_TO
            }
            at_dense = {key: plan.scorer.score(dense, layout, splits, seed) for key, plan in plans.items()}
            every = max(1, len(splits.calibration) // judged)
            images = ImageSet(splits.calibration.pairs[::every][:judged])
            for sparsity in SPARSITIES:
                budget = Budget.share(layout, sparsity, layer_counts(layout, 1))
                taylor = at_dense["taylor"]
                problem = PruningProblem(layout, taylor.linear, taylor.pairs, budget)
                keep = planned("solver=greedy").solver.solve(problem, seed).keep
                assert taylor.dead is not None
                swaps = random_swaps(problem, keep, taylor.dead, SWAPS, np.random.default_rng(seed))
                masks = np.repeat(keep[None], len(swaps), axis=0)
                for mask, (i, j) in zip(masks, swaps, strict=True):
                    mask[i], mask[j] = False, True
                start = mean_loss(dense, layout, keep, images, loss)
                true = np.array([mean_loss(dense, layout, mask, images, loss) for mask in masks]) - start
                for key, plan in plans.items():
                    row: dict[str, Any] = {"network": name, "seed": seed, "sparsity": sparsity, "objective": key}
                    for where, scores in (("dense", at_dense[key]), ("mask", plan.scorer.score(dense, layout, splits, seed, keep))):
                        problem = PruningProblem(layout, scores.linear, scores.pairs, budget)
                        row[where] = correlation(problem.damage(masks), true)["correlation"]
                    yield row


def psnrs(name: str, overrides: list[str], seeds: list[int]) -> Iterator[dict[str, Any]]:
    """One row per seed, method and sparsity."""
    for seed in seeds:
        for method, chosen in METHODS.items():
            if method.startswith("leave_one_out") and seed != seeds[0]:
                continue  # the dearest by far: once
            for draw in range(RANDOM_DRAWS) if method == "random" and seed == seeds[0] else [seed] if method != "random" else []:
                plan = planned(f"model={name}", *chosen, f"seed={draw}", "fidelity=0", "certify=false", *overrides)
                dense = plan.model.load().to(pick_device(plan.settings.device))
                layout, splits = trace(dense), plan.data.load(seed)
                for sparsity in SPARSITIES:
                    asked = replace(plan.settings, sparsity=sparsity)
                    # between rounds the weights stay as they are, so that raw and compensated share the mask
                    raw_plan = replace(plan, settings=asked, compensate=planned("compensate=none").compensate)
                    shape = (plan.model.channels, REFERENCE_SIDE, REFERENCE_SIDE)
                    start = perf_counter()
                    keep = select(raw_plan, dense, layout, splits, budgets(asked, dense, layout, shape), Clock()).solution.keep
                    row = {"network": name, "method": method, "seed": draw, "sparsity": sparsity, "seconds": perf_counter() - start}
                    row |= {part: -mean_loss(dense, layout, keep, getattr(splits, part), "psnr") for part in ("calibration", "refinement")}
                    fitted = dense if method == "random" and draw > 2 else plan.compensate.fit(dense, layout, keep, splits, seed)[0]
                    networks = shrunk(dense, layout, {"raw": keep, "compensated": keep}, {"compensated": fitted})
                    row |= {kind: float(q["psnr"].mean()) for kind, q in qualities(task_of(splits), networks, splits.test).items()}
                    if method == "random" and draw > 2:
                        row["compensated"] = None
                    yield row


def table(rows: list[dict[str, Any]], keys: tuple[str, ...], columns: tuple[str, ...]) -> str:
    """Means over seeds (and their range), one line per name and one group of columns per sparsity."""
    groups: dict[tuple[Any, ...], dict[float, list[dict[str, Any]]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), {}).setdefault(row["sparsity"], []).append(row)
    head = [f"{column} {sparsity}" for sparsity in SPARSITIES for column in columns]
    lines = [f"| {' | '.join([*keys, *head])} |", "|" + "---|" * (len(keys) + len(head))]
    for name, cells in groups.items():
        shown = [_cell([row[column] for row in cells.get(sparsity, [])]) for sparsity in SPARSITIES for column in columns]
        lines.append(f"| {' | '.join([*map(str, name), *shown])} |")
    return "\n".join(lines)


def _cell(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    spread = f" ({min(known):.2f} to {max(known):.2f})" if len(known) > 1 else ""
    return f"{np.mean(known):.2f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="write the results here as well, after every row")
    parser.add_argument("--part", choices=["fidelity", "psnr", "all"], default="all")
    parser.add_argument("--networks", nargs="+", help="shipped networks (fidelity); the first one for psnr")
    parser.add_argument("overrides", nargs="*", help="further settings, such as data.crops=32")
    arguments = parser.parse_intermixed_args()
    scale, start = SCALES[arguments.scale], perf_counter()
    overrides = [*scale["overrides"], *arguments.overrides]
    results: dict[str, list[dict[str, Any]]] = {}
    first = (arguments.networks or [scale["psnr"]])[0]
    parts = {
        "fidelity": lambda: fidelities(arguments.networks or scale["networks"], overrides, arguments.seeds),
        "psnr": lambda: psnrs(first, overrides, arguments.seeds),
    }
    for part, rows in parts.items():
        if arguments.part not in (part, "all"):
            continue
        results[part] = []
        for row in rows():
            results[part].append(row)
            print({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
            if arguments.json:
                arguments.json.parent.mkdir(parents=True, exist_ok=True)
                arguments.json.write_text(json.dumps(results, indent=1))
    told = (
        ("fidelity", "rank correlation over swaps, mean over seeds (range)", ("network", "objective"), ("dense", "mask")),
        ("psnr", "PSNR on the test images in dB, mean over seeds (range)", ("method",), ("raw", "compensated")),
        ("psnr", "the same on calibration and on refinement images, raw", ("method",), ("calibration", "refinement")),
    )
    for part, title, keys, columns in told:
        if part in results:
            print(f"\n{title}\n\n{table(results[part], keys, columns)}")
    print(f"\n{perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
