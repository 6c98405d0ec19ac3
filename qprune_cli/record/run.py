"""What a run folder holds: one function per group of files."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qprune_cli.evaluate.interval import ci95
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.record.folder import Folder
from qprune_cli.record.provenance import git_commit, mask_digest, versions
from qprune_cli.scores import Pairs, Scores
from qprune_cli.types import BaselineResult, Bools, Floats, Layout, Quality, Solution, Stage


def write_scores(folder: Folder, scores: Scores) -> None:
    """scores.npz: linear, dead, and the pairs."""
    measured = {} if scores.dead is None else {"dead": scores.dead}
    folder.arrays("scores.npz", {"linear": scores.linear} | _coupled(scores.pairs, len(scores.linear)) | measured)


def write_problem(folder: Folder, problem: PruningProblem) -> None:
    """problem.npz: everything a solver was given."""
    budget = problem.budget
    folder.arrays(
        "problem.npz",
        {"linear": problem.linear, "layer_of": problem.layer_of, "budget": np.array(budget.limit)}
        | {"fewest": budget.fewest, "most": budget.most, "counts": np.concatenate(budget.counts)}
        | {"count_of": np.repeat(np.arange(len(budget.counts)), [len(options) for options in budget.counts])}
        | _coupled(problem.pairs, problem.layout.n),
    )


def write_solution(
    folder: Folder,
    problem: PruningProblem,
    scores: Scores,
    solved: Solution,
    rounds: Sequence[Mapping[str, Any]],
    fidelity: Mapping[str, Any],
) -> None:
    """solution.json: how scorer and solver went, and whether the loss agrees; what the scorer warns of stands among the warnings."""
    kept = dict(zip((g.layer for g in problem.layout.groups), problem.kept_per_layer(solved.keep).tolist(), strict=True))
    stated = {name: getattr(solved, name) for name in ("damage", "bound", "feasible", "seconds")}
    stated |= {
        "gap": problem.gap(solved),
        "budget": problem.budget.name,
        "spent": problem.budget.spent(solved.keep),
        "rounds": list(rounds),
        "fidelity": fidelity,
    }
    stated |= {"kept": int(solved.keep.sum()), "asked": problem.budget.limit, "kept_per_layer": kept}
    told = {name: value for name, value in scores.notes.items() if name != "warnings"}
    folder.json("solution.json", dict(solved.notes) | stated | ({"scorer": told} if told else {}))


def write_mask(folder: Folder, layout: Layout, keep: Bools) -> None:
    """mask.npz: one bool array per layer, True = keep, and ``keep`` for all."""
    folder.arrays("mask.npz", layout.masks(keep) | {"keep": keep})


def write_compensation(folder: Folder, notes: Mapping[str, Any]) -> None:
    """compensation.csv: what was chosen for each layer, and what it was worth, where weights were re-fitted."""
    if notes.get("layers"):
        folder.table("compensation.csv", [row | {"taken": notes["accepted"]} for row in notes["layers"]])


def write_plan(
    folder: Folder, model: Mapping[str, Any], granularity: str, layout: Layout, keep: Bools, weights: str, answer: Sequence[float]
) -> None:
    """plan.json: what rebuilds the smaller network before its weights are read.

    Args:
        folder: where to.
        model: settings of the dense network.
        granularity: as it was traced with.
        layout: its filters.
        keep: (n,) the mask.
        weights: digest of the dense weights.
        answer: of the smaller network, which tells whether it was rebuilt as it was.
    """
    kept = {name: np.flatnonzero(mask) for name, mask in layout.masks(keep).items()}
    folder.json(
        "plan.json",
        {
            "schema": 1,
            "model": model,
            "granularity": granularity,
            "shape": layout.shape,
            "kept": kept,
            "answer": list(answer),
            "sha256": {"dense": weights, "mask": mask_digest(keep)},
            "versions": versions(),
        },
    )


def write_metrics(folder: Folder, identity: Quality, stages: Mapping[str, Stage], shape: tuple[int, ...], **more: Any) -> dict[str, Any]:
    """metrics.json, metrics.csv, images.csv.

    Args:
        folder: where to.
        identity: quality of what needs no network, such as the noisy images as they are.
        stages: the network at each stage of the run.
        shape: (C, H, W) that multiply-accumulates, activations and latency are for.
        more: further entries of metrics.json.

    Returns:
        What metrics.json holds.
    """
    metrics = {
        "schema": 1,
        "identity": _summary(identity),
        "stages": {name: _summary(stage.quality) | _size(stage) | _time(stage) for name, stage in stages.items()},
        "macs_definition": f"multiply-accumulates of convolutions and linear layers for one image of shape {list(shape)}",
    }
    metrics |= _conditions(stages, shape) | more
    folder.json("metrics.json", metrics)
    rows = [{"stage": name} | _flat(stage.quality) | _size(stage) | _milliseconds(stage) for name, stage in stages.items()]
    folder.table("metrics.csv", [dict.fromkeys(rows[0]) | {"stage": "identity"} | _flat(identity), *rows])
    qualities = {"identity": identity} | {name: stage.quality for name, stage in stages.items()}
    folder.table(
        "images.csv",
        [
            {"image": image, "stage": name} | {measure: float(values[k]) for measure, values in quality.measures.items()}
            for name, quality in qualities.items()
            for k, image in enumerate(quality.names)
        ],
    )
    return metrics


def baselines_summary(others: Sequence[BaselineResult]) -> list[dict[str, Any]]:
    """The masks beside that of the run, for metrics.json."""
    return [
        {
            "name": other.baseline.name,
            "seed": other.baseline.seed,
            "stages": {
                stage: _summary(quality) | {name: getattr(other.footprint, name) for name in ("params", "macs", "filters")}
                for stage, quality in other.found.items()
            },
        }
        for other in others
    ]


def manifest(
    folder: Folder, seed: int, device: object, seconds: Mapping[str, float], digests: Mapping[str, str], **more: Any
) -> dict[str, Any]:
    """What manifest.json is to say of a folder that holds everything else; once written, it says that the run is complete."""
    return {
        "status": "complete",
        "versions": versions(),
        "git_commit": git_commit(),
        "seed": seed,
        "device": str(device),
        "seconds": dict(seconds),
        "sha256": dict(digests),
        **more,
        "files": folder.digests(),
    }


def write_manifest(
    folder: Folder, seed: int, device: object, seconds: Mapping[str, float], digests: Mapping[str, str], **more: Any
) -> None:
    """manifest.json, the last file: its presence says that the run is complete."""
    folder.json("manifest.json", manifest(folder, seed, device, seconds, digests, **more))


def _coupled(pairs: Pairs, n: int) -> dict[str, NDArray[Any]]:
    """Couplings as arrays: a list of those within layers, and the factor where there is one."""
    i, j, weight = Pairs(pairs.blocks).entries(n)
    return {"i": i, "j": j, "weight": weight} | ({} if pairs.factor is None else {"factor": pairs.factor})


def _summary(quality: Quality) -> dict[str, Any]:
    return {name: _interval(values) for name, values in quality.measures.items()}


def _interval(values: Floats) -> dict[str, Any]:
    return {"mean": float(values.mean()), "ci95": list(ci95(values)), "n": len(values)}


def _flat(quality: Quality) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in quality.measures.items()} | {"images": len(quality.names)}


def _size(stage: Stage) -> dict[str, Any]:
    size = {name: getattr(stage.footprint, name) for name in ("params", "macs", "filters")}
    return size | {"activation_bytes": stage.memory.activations, "file_bytes": stage.memory.file}


def _time(stage: Stage) -> dict[str, Any]:
    time = stage.latency
    return {} if time is None else {"latency_ms": time.median, "latency_ms_quartiles": [time.low, time.high]}


def _milliseconds(stage: Stage) -> dict[str, float | None]:
    return {"latency_ms": None if stage.latency is None else stage.latency.median}


def _conditions(stages: Mapping[str, Stage], shape: tuple[int, ...]) -> dict[str, Any]:
    """Under which latency was measured, where it was."""
    times = [stage.latency for stage in stages.values() if stage.latency is not None]
    return {"latency": {"shape": [1, *shape], "threads": times[0].threads, "runs": times[0].runs}} if times else {}
