"""A run folder that holds everything a run may leave, with made-up numbers; written in milliseconds."""

import numpy as np
import yaml

from qprune_cli.record.crops import write_crop
from qprune_cli.record.folder import Folder
from qprune_cli.types import Pair
from tests.compare.folders import config

WIDTHS = {"encoder.0.conv": 8, "encoder.1.conv": 6, "decoder.conv": 4}
IMAGES = 6
STAGES = {"identity": 22.0, "dense": 30.0, "dense_finetuned": 30.2, "solved": 28.5, "refined": 29.0, "compensated": 29.4, "finetuned": 29.9}
SIZES = {"params": 300, "macs": 4_000_000, "filters": 9, "activation_bytes": 40_000, "file_bytes": 1_300}
DENSE = {"params": 1_000, "macs": 10_000_000, "filters": 18, "activation_bytes": 90_000, "file_bytes": 4_100}


def write_whole(path, name="half_unet", image="block_0", channels=3, side=24, warnings=("filters with equal scores",), **settings):
    """Write it; ``settings`` as of ``tests.compare.folders.config``."""
    folder, rng = Folder.at(path), np.random.default_rng(0)
    roles = {"model": name, "refine": "sequential"}
    told = config("hybrid_qubo", **({"model": name, "refine": "sequential"} | settings))
    assert told["components"] | roles == told["components"]
    targets = {"scorer": "scorer.hybrid.Hybrid", "solver": "solver.annealing.Annealing", "refine": "refine.sequential.Sequential"}
    for role, target in targets.items():
        told[role]["_target_"] = f"qprune_cli.{target}"
    folder.text("config.yaml", yaml.safe_dump(told, sort_keys=False))
    _masks(folder, rng)
    _metrics(folder, rng, image, warnings)
    _searches(folder, rng)
    noise = rng.normal(0, 0.1, (4, channels, side, side))
    clean = np.clip(np.linspace(0, 1, side)[None, None, :] + np.zeros((channels, side, 1)), 0.1, 0.9)
    for name_, k in (("worst", 0), ("median", 1), ("best", 2)):
        pair = Pair(f"block_{k}" if k else image, clean + noise[3], clean)
        write_crop(folder, name_, pair, {"dense": clean + 0.1 * noise[0], "pruned": clean + 0.2 * noise[1]})
    layers = [{"layer": one, "chosen": "0.01", "error_before": 0.02, "error_after": 0.01, "taken": True} for one in WIDTHS]
    folder.table("compensation.csv", layers)
    networks = {"transferred": {"psnr": {"mean": 29.0}, "filters": 9.0}}
    networks["random"] = networks["transferred"] | {"difference": {"mean": -0.5, "ci95": [-0.9, -0.1], "n": 3}}
    folder.json("transfer.json", {"schema": 1, "measure": "psnr", "reference": "transferred", "networks": networks})
    for file in ("model.safetensors", "model.pt2", "metrics.csv", "run.log"):
        folder.text(file, "x")
    folder.json("plan.json", {"schema": 1})
    seconds = {"load": 2.0, "score": 1.0, "solve": 0.5, "measure": 3.0}
    made = {"status": "complete", "versions": {"qprune": "0.1.0", "torch": "2.13.0"}, "git_commit": "c" * 40, "seed": 0, "device": "cpu"}
    made |= {"seconds": seconds, "sha256": {"mask": "m" * 64, "weights": "w" * 64}, "missed": ""}
    folder.json("manifest.json", made | {"files": folder.digests()})
    return path


def _masks(folder, rng):
    n, keep = sum(WIDTHS.values()), np.zeros(sum(WIDTHS.values()), bool)
    keep[[0, 1, 2, 3, 4, 8, 9, 14, 15]] = True
    linear, dead = np.sort(rng.uniform(size=n)), np.zeros(n, bool)
    dead[[5, 6]] = True
    layer_of = np.repeat(np.arange(len(WIDTHS)), list(WIDTHS.values()))
    i, j = np.triu_indices(n, 1)
    own = layer_of[i] == layer_of[j]
    pairs = {"i": i[own], "j": j[own], "weight": rng.uniform(size=own.sum()), "factor": rng.normal(size=(3, n))}
    folder.arrays("scores.npz", {"linear": linear, "dead": dead} | pairs)
    folder.arrays("problem.npz", {"linear": linear, "layer_of": layer_of, "budget": np.array(9.0)} | pairs)
    parts = np.split(keep, np.cumsum(list(WIDTHS.values()))[:-1])
    folder.arrays("mask.npz", dict(zip(WIDTHS, parts, strict=True)) | {"keep": keep})
    swaps = rng.normal(size=12)
    rank = {"correlation": 0.8, "ci95": [0.6, 0.9]}
    fidelity = {"swaps": 12, "solved": rank, "at_mask": rank, "true": swaps.tolist()}
    fidelity["predicted"] = {"solved": (swaps + 0.1).tolist(), "at_mask": (2 * swaps).tolist()}
    kept = {name: int(part.sum()) for name, part in zip(WIDTHS, parts, strict=True)}
    told = {"damage": 1.5, "bound": 1.4, "gap": 0.002, "feasible": True, "budget": "filters", "spent": 9.0, "asked": 9.0, "kept": 9}
    folder.json("solution.json", told | {"kept_per_layer": kept, "fidelity": fidelity})


def _metrics(folder, rng, image, warnings):
    values = {stage: mean + rng.normal(0, 0.3, IMAGES) for stage, mean in STAGES.items()}
    names = [image, *(f"block_{k}" for k in range(1, IMAGES))]
    rows = [
        {"image": one, "stage": stage, "psnr": float(value), "ssim": float(value) / 40}
        for stage, own in values.items()
        for one, value in zip(names, own, strict=True)
    ]
    folder.table("images.csv", rows)
    stages = {stage: _entry(own) | (DENSE if stage.startswith("dense") else SIZES) for stage, own in values.items() if stage != "identity"}
    stages["dense"]["latency_ms"], stages["finetuned"]["latency_ms"], stages["compensated"]["latency_ms"] = 10.0, 6.0, 6.1
    baselines = [{"name": "random", "seed": k, "stages": {"solved": _entry(values["solved"] - 3 - k) | SIZES}} for k in range(3)]
    baselines.append({"name": "leave_one_out", "seed": 0, "stages": {"compensated": _entry(values["solved"] - 1) | SIZES}})
    metrics = {"schema": 1, "sparsity": {"asked": 0.5, "got": 0.5, "budget": "filters"}, "identity": _entry(values["identity"])}
    metrics |= {
        "stages": stages,
        "baselines": baselines,
        "warnings": list(warnings),
        "latency": {"runs": 7, "threads": 1, "shape": [1, 3, 8, 8]},
    }
    gains = {"tuned": {"before": 28.0, "after": 29.0}, "held_out": {"before": 27.0, "after": 27.5}}
    metrics["refinement"] = gains | {"method": "sequential", "evaluations": 20}
    best = {"step": 20, "value": 29.9}
    networks = {name: {"stopped": "at the last step", "best": best} for name in ("pruned", "dense")}
    metrics["finetuning"] = {"kind": "distill", "bn": "frozen", "steps": 20, "networks": networks}
    folder.json("metrics.json", metrics)
    folder.json("refinement.json", gains)


def _entry(values):
    known = {"psnr": values, "ssim": values / 40}
    return {name: {"mean": float(v.mean()), "ci95": [float(v.min()), float(v.max())], "n": len(v)} for name, v in known.items()}


def _searches(folder, rng):
    solve = [
        {"stage": "solve", "alpha": -1.0 / k, "kept": 2 * k, "kept_min": 2 * k - 1, "kept_max": 2 * k, "energy": -9.0 / k}
        for k in range(1, 6)
    ]
    refine = [
        {
            "stage": "refine",
            "evaluation": k,
            "psnr": 28 + 0.1 * k,
            "images": 8 if k % 2 else 32,
            "held_out": 27.0 if k % 4 else "",
            "swaps": 1,
        }
        for k in range(1, 12)
    ]
    columns = dict.fromkeys(name for row in [*solve, *refine] for name in row)
    folder.table("trace.csv", [columns | row for row in [*solve, *refine]])
    epochs = [
        {"network": network, "round": 1, "epoch": k, "step": 5 * k, "lr": 1e-3, "loss": 1.0 / k, "psnr": 29 + 0.1 * k}
        for network in ("pruned", "dense")
        for k in range(1, 5)
    ]
    folder.table("epochs.csv", epochs)
