"""The whole story of a command, stage by stage; no branch on which component it got."""

import json
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml

from qprune_cli.calibration.gates import gate_statistics
from qprune_cli.clock import Clock
from qprune_cli.cost.cost import Cost
from qprune_cli.cost.measure import measured
from qprune_cli.device import pick_device
from qprune_cli.errors import MissedTarget, UserError
from qprune_cli.evaluate.masked import restored
from qprune_cli.evaluate.task import task_of
from qprune_cli.graph.execute import evaluating
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.record.budget import asked_line
from qprune_cli.record.crops import write_crop
from qprune_cli.record.finetuning import remove_states
from qprune_cli.record.program import write_program
from qprune_cli.record.provenance import mask_digest
from qprune_cli.record.run import (
    manifest,
    write_manifest,
    write_metrics,
    write_plan,
)
from qprune_cli.record.table import inspect_table, train_table
from qprune_cli.record.tensorboard import tensorboard
from qprune_cli.record.transfer import transfer_table, write_transfer
from qprune_cli.report.write import report_of_run
from qprune_cli.run.budgets import allowed, budgets, fewest_mask
from qprune_cli.run.plan import RunPlan, TrainPlan, section
from qprune_cli.run.prune import chosen, prepare, prune
from qprune_cli.scores import Pairs
from qprune_cli.types import Splits
from qprune_cli.weights.checkpoint import save_weights, weights_digest
from qprune_cli.weights.fingerprint import output_fingerprint

LOG = logging.getLogger("qprune_cli")
INSPECTED_AT_ONCE = 8  # calibration images
STATE = "training.safetensors"  # of a training that is not finished


def run(plan: RunPlan) -> Path:
    """Prune a network, measure what it costs, and save the smaller one.

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
        device = pick_device(plan.settings.device)
        dense = plan.model.load().to(device)
        job = prepare(plan.settings, dense, images(plan), plan.model.keep_layers, plan.model.wrap)
        plan.solver.check(PruningProblem(job.layout, np.zeros(job.layout.n), Pairs.none(), job.budgets[0]))
        plan.finetune.ready(job.splits)
        target = plan.transfer.load(dense, plan.settings.seed)
    folder = plan.folder()
    with folder.log():
        folder.text("config.yaml", yaml.safe_dump(plan.config, sort_keys=False))
        try:
            pruned = prune(plan, job, folder, clock)
        except KeyboardInterrupt:
            best = " (mask.npz there holds the best mask so far)" if (folder.path / "mask.npz").is_file() else ""
            LOG.warning("stopped; go on with `qprune run --resume %s`%s", folder.path, best)
            raise
        with clock("save"):
            digest = weights_digest(dense)
            write_plan(
                folder,
                plan.config["model"],
                plan.settings.granularity,
                job.layout,
                pruned.keep,
                digest,
                output_fingerprint(pruned.model, job.layout.shape),
            )
            with folder.complete("model.safetensors") as path:
                save_weights(pruned.model, path, {})
            write_program(folder, pruned.model, job.shape, task_of(job.splits).any_size)
        with clock("transfer"):
            task, asked = task_of(job.splits), plan.settings
            rows = list(plan.transfer.compare(plan.model.build, partial(chosen, plan), job.splits, target, asked.seed, device))
            write_transfer(folder, task, rows)
        LOG.info("%s\n%s%s", folder.path, pruned.table, transfer_table(task, rows))
        digests = {"mask": mask_digest(pruned.keep), "weights": digest}
        stated = manifest(folder, plan.settings.seed, device, clock.seconds, digests, missed=pruned.missed, cache=pruned.taken)
        if page := report_of_run(folder.path, stated):
            LOG.info("report: %s", page)
        folder.json("manifest.json", stated)
        remove_states(folder)
    if pruned.missed:
        raise MissedTarget(pruned.missed)
    return folder.path


_LAST: dict[str, Splits] = {}


def images(plan: RunPlan) -> Splits:
    """The images of a run; jobs of one sweep that follow each other in one process and have the same ones read them once."""
    if plan.place is None:
        return plan.data.load(plan.settings.seed)
    key = json.dumps([str(plan.place.path.parent), section(plan.data), plan.settings.seed])
    if key not in _LAST:
        _LAST.clear()  # before others are read: they may fill the memory
        _LAST[key] = plan.data.load(plan.settings.seed)
    return _LAST[key]


def inspect(plan: RunPlan) -> str:
    """Say what of a network could go, before anything is solved.

    Raises:
        UserError: bad data or weights, or the network cannot be followed.
    """
    asked = plan.settings
    trained = plan.model.trained
    dense = (plan.model.load() if trained else plan.model.build().eval()).to(pick_device(asked.device))
    mild = replace(asked, sparsity=0.0, budget="filters", scope="global", limits={}, rounds=1)
    job = prepare(mild, dense, plan.data.load(asked.seed), plan.model.keep_layers, plan.model.wrap)
    dead = gate_statistics(dense, job.layout, job.splits.calibration, asked.loss, INSPECTED_AT_ONCE).dead if trained else None
    cost = Cost(dense, job.layout, job.shape)
    fewest = fewest_mask(job.layout, allowed(asked, job.layout))
    smallest, largest = (cost.footprint(keep) for keep in (fewest, np.ones(job.layout.n, bool)))
    least = f"floor={asked.floor}" + (f", round_to={asked.round_to}" if asked.round_to > 1 else "") + (", limits" if asked.limits else "")
    try:
        said = f"sparsity={asked.sparsity:g} {asked_line(budgets(asked, dense, job.layout, job.shape)[-1])}"
    except UserError as error:
        said = f"not reachable: {error}"
    return f"{inspect_table(job.layout, dead, least, smallest, largest, job.shape)}\n{said}"


def train(plan: TrainPlan) -> Path:
    """Train a dense network from fresh weights, or go on with a training that was stopped.

    Args:
        plan: components and settings.

    Returns:
        The training folder, complete; ``model.safetensors`` in it is a checkpoint for ``model.weights``.

    Raises:
        UserError: bad data, before a folder is made; a loss that is not finite, after.
    """
    asked, clock = plan.settings, Clock()
    with clock("load"):
        splits = plan.data.load(plan.train.seed)
        task = task_of(splits)
        splits.train.check(plan.train.crop)
        task.refuse_unjudgeable(splits.test, plan.model.channels)
        torch.manual_seed(plan.train.seed)
        device = pick_device(asked.device)
        model = plan.model.build().to(device)
        with evaluating(model):
            task.refuse_unfit(model, (splits.calibration, splits.refinement, splits.test))
    folder = plan.folder()
    with folder.log(), tensorboard(folder.path / "tensorboard", asked.tensorboard) as track:
        folder.text("config.yaml", yaml.safe_dump(plan.config, sort_keys=False))
        with clock("train"):
            rows = []
            for row in plan.train.fit(model, splits, folder.path / STATE):
                LOG.info(row.said(task.primary))
                told = row.entries(task.primary)
                rows.append({"step": row.step} | told)
                folder.table("training.csv", rows)
                track(row.step, told)
        with clock("measure"):
            quality, shape = task.quality(model, splits.test, asked.ssim3d), task.shape(splits.test)
            stage = measured(model, quality, shape)
            identity = task.baseline(splits.calibration, splits.test, asked.ssim3d)
            for name, k in task.examples(quality).items():
                write_crop(folder, name, splits.test.pairs[k], restored({"dense": model}, splits.test.pairs[k]))
        metrics = write_metrics(folder, identity, {"dense": stage}, shape)
        with folder.complete("model.safetensors") as path:
            save_weights(model, path, {"config": json.dumps(plan.config), "test": json.dumps(metrics["stages"]["dense"])})
        LOG.info("%s\n%s", folder.path, train_table(task, identity, stage))
        write_manifest(folder, plan.train.seed, device, clock.seconds, {"weights": weights_digest(model)})
        (folder.path / STATE).unlink()
    return folder.path
