"""The whole story of a command, stage by stage; no branch on which component it got."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from qprune_cli.clock import Clock
from qprune_cli.compensate.objective import objective_metric
from qprune_cli.device import pick_device
from qprune_cli.errors import MissedTarget, UserError
from qprune_cli.evaluate.masked import qualities, restored, shrunk
from qprune_cli.evaluate.task import task_of
from qprune_cli.model.checkpoint import save_weights, weights_digest
from qprune_cli.plan import RunPlan, RunSettings, TrainPlan
from qprune_cli.problem.budget import Budget
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.record.budget import asked_line, missed_target, obtained, solution_lines
from qprune_cli.record.crops import write_crop
from qprune_cli.record.folder import Folder
from qprune_cli.record.program import write_program
from qprune_cli.record.provenance import mask_digest
from qprune_cli.record.refinement import refinement_line, refinement_summary, refinement_warnings, save_state, saved_state, write_refinement
from qprune_cli.record.run import (
    write_compensation,
    write_manifest,
    write_mask,
    write_metrics,
    write_plan,
    write_problem,
    write_scores,
    write_solution,
)
from qprune_cli.record.table import inspect_table, run_table, train_table
from qprune_cli.record.tensorboard import tensorboard
from qprune_cli.record.transfer import transfer_table, write_transfer
from qprune_cli.record.warning import compensation_warnings, run_warnings
from qprune_cli.roles import Scorer
from qprune_cli.scores import Pairs
from qprune_cli.search.ledger import Ledger
from qprune_cli.selection import select
from qprune_cli.structure.answer import answer
from qprune_cli.structure.cost import Cost
from qprune_cli.structure.execute import evaluating
from qprune_cli.structure.gates import gate_statistics
from qprune_cli.structure.latency import latencies
from qprune_cli.structure.loss import LOSSES
from qprune_cli.structure.measure import measured
from qprune_cli.structure.shrink import idle_filters
from qprune_cli.structure.trace import trace
from qprune_cli.target import allowed, budgets, fewest_mask, kept_layers
from qprune_cli.types import Bools, Layout, Splits

LOG = logging.getLogger("qprune_cli")
INSPECTED_AT_ONCE = 8  # calibration images
STATE = "training.safetensors"  # of a training that is not finished


@dataclass(frozen=True)
class Job:
    """A network that can be pruned as asked, with its images; nothing has been written yet.

    Attributes:
        dense: the trained network.
        layout: its filters.
        splits: the images.
        budgets: what a mask has to meet, one for each round; the last is what was asked.
    """

    dense: nn.Module
    layout: Layout
    splits: Splits
    budgets: tuple[Budget, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) that multiply-accumulates are counted for."""
        return task_of(self.splits).shape(self.splits.test)


@dataclass(frozen=True)
class Pruned:
    """What came out.

    Attributes:
        keep: (n,) the mask.
        model: the smaller network, equal to the silenced one.
        metrics: as in metrics.json.
        table: the same in short, to be read.
        missed: how the target was missed; empty where it was met.
    """

    keep: Bools
    model: nn.Module
    metrics: dict[str, Any]
    table: str
    missed: str = ""


def prepare(asked: RunSettings, dense: nn.Module, splits: Splits, keep_layers: Sequence[str], wrap: Sequence[str]) -> Job:
    """Check that a network can be pruned as asked.

    Raises:
        UserError: the images do not fit, the network cannot be followed, or the target cannot be reached.
    """
    task, example = task_of(splits), splits.calibration.pairs[0].noisy
    task.refuse_loss("loss", asked.loss, LOSSES)
    task.refuse_unjudgeable(splits.test, len(example))
    task.refuse_unfit(dense, (splits.calibration, splits.refinement, splits.test))
    layout = trace(dense, torch.empty(1, *example.shape), asked.granularity, keep_layers, wrap)
    if whole := kept_layers(asked, [member.layer for group in layout.groups for member in group.members]):
        layout = trace(dense, torch.empty(1, *example.shape), asked.granularity, [*keep_layers, *whole], wrap)
    return Job(dense, layout, splits, budgets(asked, dense, layout, task.shape(splits.test)))


def prune(plan: RunPlan, job: Job, folder: Folder, clock: Clock) -> Pruned:
    """Choose filters, build the smaller network, and measure what it costs; every stage writes its files.

    Args:
        plan: scorer, solver, refiner and settings.
        job: network and images.
        folder: where to.
        clock: takes the time of each stage.

    Raises:
        UserError: a loss that is not finite.
    """
    asked, dense, layout, splits = plan.settings, job.dense, job.layout, job.splits
    task = task_of(splits)
    selected = select(plan, dense, layout, splits, job.budgets, clock)
    scores, problem, solved = selected.scores, selected.problem, selected.solution
    write_scores(folder, scores)
    write_problem(folder, problem)
    write_solution(folder, problem, scores, solved, selected.rounds, selected.fidelity)
    with clock("refine"):
        write_mask(folder, layout, solved.keep)
        metric = objective_metric(plan.refine.objective, plan.compensate, dense, layout, solved.keep, splits, asked.seed)
        ledger = Ledger(metric, solved.keep, saved_state(folder, layout), partial(save_state, folder, layout))
        refined = plan.refine.refine(problem, solved, ledger, asked.seed)
        write_refinement(folder, layout, solved, refined, ledger.trace)
    with clock("compensate"):
        fitted, compensation = plan.compensate.fit(dense, layout, refined.keep, splits, asked.seed)
        write_compensation(folder, compensation)
    with clock("shrink"):
        masks = {"dense": np.ones(layout.n, bool), "solved": solved.keep, "refined": refined.keep, "compensated": refined.keep}
        networks = shrunk(dense, layout, masks | {"begun": solved.keep}, {"compensated": fitted, "begun": metric.model})
    with clock("measure"):
        found = qualities(task, networks, splits.test, asked.ssim3d)
        timed = asked.latency or asked.budget == "latency"
        times = latencies({name: networks[name] for name in ("dense", "compensated")}, job.shape) if timed else {}
        stages = {
            name: measured(networks[name], found[name], job.shape, int(layout.sizes[keep].sum()), times.get(name))
            for name, keep in masks.items()
        }
        identity = task.baseline(splits.calibration, splits.test, asked.ssim3d)
        for name, k in task.examples(found["compensated"]).items():
            shown = {"dense": dense, "pruned": networks["compensated"]}
            write_crop(folder, name, splits.test.pairs[k], restored(shown, splits.test.pairs[k]))
    warnings = run_warnings(problem, scores, refined, asked.sparsity, idle_filters(networks["compensated"], layout, refined.keep))
    warnings += compensation_warnings(task, compensation) + task.doubts(identity, stages["dense"].quality)
    missed = missed_target(problem.budget, asked.sparsity, stages)
    sparsity = {"asked": asked.sparsity, "budget": asked.budget} | obtained(problem.budget, refined.keep, stages)
    if layout.n < layout.sizes.sum():  # a variable is a group of filters
        sparsity |= {"counts": "groups", "filters": 1 - layout.sizes[refined.keep].sum() / layout.sizes.sum()}
    summary = {name: value for name, value in compensation.items() if name != "layers"}
    trust: dict[str, Any] = {name: selected.fidelity[name] for name in ("swaps", "solved", "at_mask") if name in selected.fidelity}
    if asked.fidelity and "solved" not in trust:
        warnings.append(f"fidelity was not measured: only {trust.get('swaps', 0)} pairs of filters can be exchanged here")
    warnings += missed
    gained = refinement_summary(task, refined, plan.refine.objective, found)
    warnings += refinement_warnings(task, gained, len(splits.refinement))
    told = {"sparsity": sparsity, "fidelity": trust, "refinement": gained, "compensation": summary, "warnings": warnings}
    metrics = write_metrics(folder, identity, stages, job.shape, **told)
    for warning in warnings:
        LOG.warning(warning)
    table = f"{run_table(task, identity, stages)}\n{solution_lines(problem, solved, trust)}{refinement_line(task, gained)}"
    return Pruned(refined.keep, networks["compensated"], metrics, table, next(iter(missed), ""))


def chosen(plan: RunPlan, dense: nn.Module, splits: Splits, seed: int, scorer: Scorer | None = None) -> tuple[Layout, Bools]:
    """The filters of a trained network and the mask that a plan takes, with its own scorer or another one; nothing is written.

    Args:
        plan: scorer, solver and settings.
        dense: the trained network.
        splits: the images.
        seed: of scorer and solver.
        scorer: None for that of the plan.
    """
    asked = replace(plan.settings, seed=seed, certify=False, fidelity=0)
    own = replace(plan, settings=asked, scorer=scorer or plan.scorer)
    job = prepare(asked, dense, splits, plan.model.keep_layers, plan.model.wrap)
    return job.layout, select(own, dense, job.layout, splits, job.budgets, Clock()).solution.keep


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
        job = prepare(plan.settings, dense, plan.data.load(plan.settings.seed), plan.model.keep_layers, plan.model.wrap)
        plan.solver.check(PruningProblem(job.layout, np.zeros(job.layout.n), Pairs.none(), job.budgets[0]))
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
                answer(pruned.model, job.layout.shape),
            )
            with folder.complete("model.safetensors") as path:
                save_weights(pruned.model, path, {})
            write_program(folder, pruned.model, job.shape, task_of(job.splits).any_size)
        with clock("transfer"):
            task, asked = task_of(job.splits), plan.settings
            rows = list(plan.transfer.compare(plan.model.build, partial(chosen, plan), job.splits, target, asked.seed, device))
            write_transfer(folder, task, rows)
        LOG.info("%s\n%s%s", folder.path, pruned.table, transfer_table(task, rows))
        write_manifest(folder, plan.settings.seed, device, clock.seconds, {"mask": mask_digest(pruned.keep), "weights": digest})
    if pruned.missed:
        raise MissedTarget(pruned.missed)
    return folder.path


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
                LOG.info("step %d: loss %.5f, validation %s", row.step, row.loss, task.primary.said(row.value))
                told = {"lr": row.lr, "loss": row.loss, task.primary.name: row.value}
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
