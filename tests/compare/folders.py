"""Run folders as `qprune run` leaves them, with made-up numbers."""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import yaml

STAGES = ("identity", "dense", "solved", "refined", "compensated")
IDENTITY = np.array([20.0, 22.0, 25.0, 21.0, 24.0, 23.0])
SCORERS = {"greedy_taylor": "taylor", "hybrid_qubo": "hybrid", "greedy_l1": "l1"}


def config(solver="greedy_taylor", sparsity=0.5, seed=0, **more):
    """Settings; ``more`` by their dotted names, components by their roles."""
    roles = {"compensate": "ridge", "refine": "none", "solver": solver, "scorer": SCORERS.get(solver, "gram")}
    roles |= {"model": "half_unet", "data": "sample"}
    settings = {
        "data": {"_target_": "Sample", "channels": 3, "crops": 64, "camera": {"read": 0.1}},
        "model": {"_target_": "HalfUNet", "channels": 3},
        "scorer": {"_target_": roles["scorer"], "beta": {"hybrid": 0.5}.get(roles["scorer"], 0.0), "sparsity": sparsity},
        "solver": {"_target_": solver.split("_")[0]} | ({"reads": 10} if solver == "hybrid_qubo" else {}),
        "refine": {"_target_": "NoRefinement"},
        "compensate": {"_target_": "Ridge"},
        "sparsity": sparsity,
        "budget": "filters",
        "limits": {},
        "seed": seed,
        "device": "auto",
        "output_root": "outputs",
        "components": roles,
    }
    for name, value in more.items():
        if name in roles:
            roles[name] = value
            continue
        *above, last = name.split(".")
        place = settings
        for key in above:
            place = place.setdefault(key, {})
        place[last] = value
    return settings


def write_run(
    folder,
    settings,
    psnr=None,
    dense=None,
    identity=IDENTITY,
    names=None,
    weights="a" * 64,
    versions=("0.1.0", "2.13.0"),
    commit="c" * 40,
    device="cpu",
    latency=True,
    warnings=(),
    measures=("psnr", "ssim"),
    schema=1,
    finished=True,
):
    """Write a run; ``psnr`` (N,) is the first measure of the compensated stage, ``dense`` that of the dense one."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    (folder / "run.log").write_text("")
    if not finished:
        return folder
    identity = np.asarray(identity, float)
    dense = identity + 8 if dense is None else np.asarray(dense, float)
    psnr = dense - 0.5 if psnr is None else np.asarray(psnr, float)
    values = {"identity": identity, "dense": dense, "solved": psnr - 0.2, "refined": psnr - 0.1, "compensated": psnr}
    names = names or [f"image_{k}" for k in range(len(identity))]
    with (folder / "images.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "stage", *measures])
        for stage in STAGES:
            for name, value in zip(names, values[stage], strict=True):
                writer.writerow([name, stage, float(value), *([float(value) / 50] * (len(measures) - 1))])
    sizes = {"params": 1000, "macs": 10000, "filters": 100}
    stages = {"dense": sizes | ({"latency_ms": 10.0} if latency else {})}
    for stage in STAGES[2:]:
        stages[stage] = {"params": 300, "macs": 4000, "filters": round(100 * (1 - settings["sparsity"]))}
    if latency:
        stages["compensated"]["latency_ms"] = 6.0
    metrics = {"schema": schema, "stages": stages, "sparsity": {"asked": settings["sparsity"], "budget": "filters"}}
    metrics["sparsity"]["got"] = settings["sparsity"]
    metrics |= {"fidelity": {"swaps": 40, "at_mask": {"correlation": 0.75, "ci95": [0.6, 0.9]}}, "warnings": list(warnings)}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "solution.json").write_text(json.dumps({"gap": 0.01, "damage": 1.0}))
    manifest = {
        "versions": {"qprune": versions[0], "torch": versions[1]},
        "git_commit": commit,
        "seed": settings["seed"],
        "device": device,
        "seconds": {"score": 2.0, "solve": 1.5},
        "sha256": {"mask": "m", "weights": weights},
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.name != "run.log"},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def write_failed(folder, settings, sentence):
    """Write what a failed job of a sweep leaves."""
    folder = write_run(folder, settings, finished=False)
    (folder / "failed.json").write_text(json.dumps({"code": 2, "error": sentence}))
    return folder
