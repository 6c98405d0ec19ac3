"""A pruning run: every stage once, in order; it branches on no component and writes no file."""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from qprune_cli.cache.shared import Shared
from qprune_cli.cache.store import Store
from qprune_cli.clock import Clock
from qprune_cli.device import pick_device
from qprune_cli.errors import MissedTarget
from qprune_cli.record.observer import RunFiles
from qprune_cli.report.write import report_of_run
from qprune_cli.run.baselines import measure_baselines
from qprune_cli.run.finetuning import Trainings
from qprune_cli.run.job import Job, load
from qprune_cli.run.measure import build, measure, pictures
from qprune_cli.run.observer import Observer
from qprune_cli.run.outcome import Outcome, metrics_of, table_of
from qprune_cli.run.plan import RunPlan
from qprune_cli.run.refinement import refine
from qprune_cli.run.rounds import select
from qprune_cli.run.transfer import choose
from qprune_cli.types import Bools

LOG = logging.getLogger("qprune_cli")


@dataclass(frozen=True)
class Pruned:
    """What a run has made.

    Attributes:
        keep: (n,) the mask.
        model: the smaller network, equal to the silenced one.
        metrics: as in metrics.json.
        table: the same in short, to be read.
        missed: how the target was missed; empty where it was met.
        recalled: results of earlier runs that were taken from the cache.
    """

    keep: Bools
    model: nn.Module
    metrics: dict[str, Any]
    table: str
    missed: str = ""
    recalled: tuple[str, ...] = ()


def run(plan: RunPlan) -> Path:
    """Prune a network, measure what it costs, and save the smaller one in a run folder.

    Args:
        plan: components and settings.

    Returns:
        The run folder, complete.

    Raises:
        UserError: bad data, weights or target, before a folder is made; a loss that is not finite, after.
        MissedTarget: the smaller network, which is complete, exceeds its budget.
    """
    clock = Clock()
    with clock("load"):
        job = load(plan)
    folder = plan.folder()
    with folder.log():
        files = RunFiles(folder, plan.config, job.layout)
        try:
            pruned = prune(plan, job, files, clock)
        except KeyboardInterrupt:
            files.stopped()
            raise
        LOG.info("%s\n%s%s", folder.path, pruned.table, files.transfer)
        entries = files.manifest(pick_device(plan.settings.device), clock.seconds, pruned.missed, pruned.recalled)
        if page := report_of_run(folder.path, entries):
            LOG.info("report: %s", page)
        files.complete(entries)
    if pruned.missed:
        raise MissedTarget(pruned.missed)
    return folder.path


def prune(plan: RunPlan, job: Job, observer: Observer, clock: Clock) -> Pruned:
    """Choose filters, build the smaller network, and measure what it is worth.

    Args:
        plan: components and settings.
        job: network and images.
        observer: hears of each stage as it ends.
        clock: takes the time of each stage.

    Raises:
        UserError: a loss that is not finite.
    """
    seed, layout, splits = plan.settings.seed, job.layout, job.splits
    shared = Shared(Store.of_user(plan.settings.cache), job.dense, layout, splits, clock)
    trainings = Trainings(plan.finetune, shared, plan.settings, observer)

    selected = select(plan, shared, job.budgets, trainings.between)  # round after round: re-fit, fine-tune, score, solve; then fidelity
    observer.solved(selected.problem, selected.scores, selected.solution, selected.rounds, selected.fidelity)
    with clock("refine"):
        refined, begun = refine(plan, job, selected, observer)
    with clock("compensate"):
        fitted, compensation = plan.compensate.fit(selected.base, layout, refined.keep, splits, seed, selected.before)
        observer.compensated(compensation)
    with clock("shrink"):
        networks = build(job, selected, refined, fitted, begun)
    with clock("finetune"):
        small = trainings.last(networks["compensated"], refined.keep)
        networks |= {} if small is networks["compensated"] else {"finetuned": small}
        dense_control = trainings.dense_control()
    with clock("baselines"):
        baselines = measure_baselines(plan, shared, job)
    with clock("measure"):
        measured = measure(plan, job, shared, selected, refined, networks, dense_control)
        pictures(job, measured.qualities, small, observer)
    outcome = Outcome(plan, job, selected, refined, compensation, networks, trainings.notes, baselines, measured)
    metrics = metrics_of(outcome)
    observer.measured(metrics, measured.identity, measured.stages)
    for warning in metrics["warnings"]:
        LOG.warning(warning)
    with clock("save"):
        observer.built(job.dense, small, refined.keep, job.shape, job.task.any_size)
    with clock("transfer"):
        device = pick_device(plan.settings.device)
        observer.transferred(
            job.task, list(plan.transfer.compare(plan.model.build, partial(choose, plan), splits, job.target, seed, device))
        )
    return Pruned(refined.keep, small, metrics, table_of(outcome, metrics), next(iter(outcome.missed), ""), tuple(shared.recalled))
