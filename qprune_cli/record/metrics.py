"""What networks are worth and what they cost: metrics.json, metrics.csv, images.csv."""

from collections.abc import Mapping, Sequence
from typing import Any

from qprune_cli.evaluate.interval import ci95
from qprune_cli.record.folder import Folder
from qprune_cli.types import BaselineResult, Floats, Quality, Stage


def run_metrics(identity: Quality, stages: Mapping[str, Stage], shape: tuple[int, ...], **more: Any) -> dict[str, Any]:
    """Put together what metrics.json holds of a run.

    Args:
        identity: quality of what needs no network, such as the noisy images as they are.
        stages: the network at each stage of the run.
        shape: (C, H, W) that multiply-accumulates, activations and latency are for.
        more: further entries.
    """
    metrics = {
        "schema": 1,
        "identity": _summary(identity),
        "stages": {name: _summary(stage.quality) | _size(stage) | _time(stage) for name, stage in stages.items()},
        "macs_definition": f"multiply-accumulates of convolutions and linear layers for one image of shape {list(shape)}",
    }
    return metrics | _conditions(stages, shape) | more


def write_metrics(folder: Folder, metrics: Mapping[str, Any], identity: Quality, stages: Mapping[str, Stage]) -> None:
    """Write metrics.json, metrics.csv (one row for each stage), and images.csv (one row for each test image and stage).

    Args:
        folder: of the run.
        metrics: as ``run_metrics`` puts them together.
        identity: quality of what needs no network.
        stages: the network at each stage of the run.
    """
    folder.json("metrics.json", metrics)
    rows = [{"stage": name} | _means(stage.quality) | _size(stage) | _milliseconds(stage) for name, stage in stages.items()]
    folder.table("metrics.csv", [dict.fromkeys(rows[0]) | {"stage": "identity"} | _means(identity), *rows])
    qualities = {"identity": identity} | {name: stage.quality for name, stage in stages.items()}
    folder.table(
        "images.csv",
        [
            {"image": image, "stage": name} | {measure: float(values[k]) for measure, values in quality.measures.items()}
            for name, quality in qualities.items()
            for k, image in enumerate(quality.names)
        ],
    )


def baselines_summary(others: Sequence[BaselineResult]) -> list[dict[str, Any]]:
    """The masks beside that of the run, for metrics.json."""
    return [
        {
            "name": other.baseline.name,
            "seed": other.baseline.seed,
            "stages": {
                stage: _summary(quality) | {name: getattr(other.footprint, name) for name in ("params", "macs", "filters")}
                for stage, quality in other.quality.items()
            },
        }
        for other in others
    ]


def _summary(quality: Quality) -> dict[str, Any]:
    return {name: _interval(values) for name, values in quality.measures.items()}


def _interval(values: Floats) -> dict[str, Any]:
    return {"mean": float(values.mean()), "ci95": list(ci95(values)), "n": len(values)}


def _means(quality: Quality) -> dict[str, float]:
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
