"""The stages of a run that build the smaller networks and measure all of them on the test images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from qprune_cli.cache.shared import Shared
from qprune_cli.cost.latency import latencies
from qprune_cli.cost.measure import measured
from qprune_cli.evaluate.masked import qualities, restored, shrunk
from qprune_cli.run.job import Job
from qprune_cli.run.observer import Observer
from qprune_cli.run.plan import RunPlan
from qprune_cli.run.rounds import Selected
from qprune_cli.types import Bools, Latency, Quality, Solution, Stage, final_stage

STAGES = ("dense", "dense_finetuned", "solved", "refined", "compensated", "finetuned")  # in the order of files
BEFORE = {"finetuned": "compensated", "dense_finetuned": "dense"}  # training changes neither size nor latency


@dataclass(frozen=True)
class Measured:
    """What was measured on the test images.

    Attributes:
        qualities: by stage, and of the network that the refinement ``begun`` with.
        stages: quality, size and latency, in the order of ``STAGES``.
        identity: quality of what needs no network, such as the noisy images as they are.
    """

    qualities: Mapping[str, Quality]
    stages: Mapping[str, Stage]
    identity: Quality


def build(job: Job, selected: Selected, refined: Solution, fitted: nn.Module, begun: nn.Module) -> dict[str, nn.Module]:
    """The networks of a run before any is trained on: by stage, and what the refinement ``begun`` with.

    Args:
        job: the dense network and its filters.
        selected: the solver's mask, and the network that it is for.
        refined: the refined mask.
        fitted: a network in the dense one's shape with weights that were fitted for the refined mask.
        begun: a network in the dense one's shape that the refinement measured masks on.
    """
    masks = _masks(job, selected, refined) | {"begun": selected.solution.keep}
    return shrunk(selected.base, job.layout, masks, {"dense": job.dense, "compensated": fitted, "begun": begun})


def measure(
    plan: RunPlan,
    job: Job,
    shared: Shared,
    selected: Selected,
    refined: Solution,
    networks: Mapping[str, nn.Module],
    dense_control: Quality | None,
) -> Measured:
    """Measure every network of a run once; equal ones share their quality.

    Args:
        plan: settings.
        job: network and images.
        shared: knows the quality of the dense network where an earlier run has measured it.
        selected: the solver's mask.
        refined: the refined mask.
        networks: by stage.
        dense_control: quality of the dense network that was trained as long; None where there is none.
    """
    settings, task, test = plan.settings, job.task, job.splits.test
    dense = shared.quality("dense", settings.ssim3d, lambda: task.quality(job.dense, test, settings.ssim3d))
    quality = qualities(task, networks, test, settings.ssim3d, {"dense": dense})
    quality |= {"dense_finetuned": dense_control} if dense_control is not None else {}
    timed = settings.latency or settings.budget == "latency"
    times = latencies({name: networks[name] for name in ("dense", "compensated")}, job.shape) if timed else {}
    filters = {name: int(job.layout.sizes[mask].sum()) for name, mask in _masks(job, selected, refined).items()}
    stages = {name: _stage(job, networks, quality[name], filters, times, BEFORE.get(name, name)) for name in STAGES if name in quality}
    identity = shared.quality("identity", settings.ssim3d, lambda: task.baseline(job.splits.calibration, test, settings.ssim3d))
    return Measured(quality, stages, identity)


def pictures(job: Job, quality: Mapping[str, Quality], small: nn.Module, observer: Observer) -> None:
    """Show what the dense and the smaller network make of a few test images, those that the last stage does worst, middling and best on."""
    for name, k in job.task.examples(quality[final_stage(quality)]).items():
        pair = job.splits.test.pairs[k]
        observer.pictured(name, pair, restored({"dense": job.dense, "pruned": small}, pair))


def _masks(job: Job, selected: Selected, refined: Solution) -> dict[str, Bools]:
    """(n,) masks by stage."""
    return {
        "dense": np.ones(job.layout.n, bool),
        "solved": selected.solution.keep,
        "refined": refined.keep,
        "compensated": refined.keep,
    }


def _stage(
    job: Job,
    networks: Mapping[str, nn.Module],
    quality: Quality,
    filters: Mapping[str, int],
    times: Mapping[str, Latency],
    name: str,
) -> Stage:
    return measured(networks[name], quality, job.shape, filters[name], times.get(name))
