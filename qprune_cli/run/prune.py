"""From a trained network to a smaller one, stage by stage; no branch on which component it got."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from qprune_cli.cache.shared import Shared
from qprune_cli.cache.store import Store
from qprune_cli.calibration.loss import LOSSES
from qprune_cli.clock import Clock
from qprune_cli.compensate.none import NoCompensation
from qprune_cli.cost.latency import latencies
from qprune_cli.cost.measure import measured
from qprune_cli.evaluate.masked import qualities, restored, shrunk
from qprune_cli.evaluate.task import task_of
from qprune_cli.graph.trace import trace
from qprune_cli.problem.budget import Budget
from qprune_cli.record.budget import missed_target, obtained, solution_lines
from qprune_cli.record.crops import write_crop
from qprune_cli.record.finetuning import finetuning_summary, finetuning_warnings
from qprune_cli.record.folder import Folder
from qprune_cli.record.refinement import refinement_line, refinement_summary, refinement_warnings, save_state, saved_state, write_refinement
from qprune_cli.record.run import (
    baselines_summary,
    write_compensation,
    write_mask,
    write_metrics,
    write_problem,
    write_scores,
    write_solution,
)
from qprune_cli.record.table import baseline_lines, run_table
from qprune_cli.record.warning import compensation_warnings, run_warnings
from qprune_cli.regression.objective import objective_metric
from qprune_cli.roles import Scorer
from qprune_cli.run.baselines import measure_baselines
from qprune_cli.run.budgets import budgets, kept_layers
from qprune_cli.run.finetuning import Tuning
from qprune_cli.run.plan import RunPlan, RunSettings
from qprune_cli.run.rounds import Selected, select
from qprune_cli.search.evaluations import EvaluationLog
from qprune_cli.surgery.shrink import idle_filters
from qprune_cli.types import Bools, Latency, Layout, Quality, Solution, Splits, Stage, final_stage

LOG = logging.getLogger("qprune_cli")
ORDER = ("dense", "dense_finetuned", "solved", "refined", "compensated", "finetuned")  # of stages in files


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
        taken: what was computed by an earlier run.
    """

    keep: Bools
    model: nn.Module
    metrics: dict[str, Any]
    table: str
    missed: str = ""
    taken: tuple[str, ...] = ()


def prepare(asked: RunSettings, dense: nn.Module, splits: Splits, keep_layers: Sequence[str], wrap: Sequence[str]) -> Job:
    """Check that a network can be pruned as asked.

    Raises:
        UserError: the images do not fit, the network cannot be followed, or the target cannot be reached.
    """
    task, example = task_of(splits), splits.calibration.pairs[0].input
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
    task, asked = task_of(job.splits), plan.settings
    shared = Shared(Store.of_user(asked.cache), job.dense, job.layout, job.splits, clock)
    tuning = Tuning(plan.finetune, shared, asked.seed, asked.rounds, folder)
    made = _made(plan, job, shared, tuning, folder)

    def judge(network: nn.Module) -> Quality:
        return task.quality(network, job.splits.test, asked.ssim3d)

    with clock("finetune"):
        dense_control = tuning.dense_control(asked.ssim3d, judge)
    with clock("baselines"):
        others = measure_baselines(plan, shared, job.budgets[-1], job.shape)
    with clock("measure"):
        known = shared.quality("dense", asked.ssim3d, lambda: judge(job.dense))
        found = qualities(task, made.networks, job.splits.test, asked.ssim3d, {"dense": known})
        found |= {"dense_finetuned": dense_control} if dense_control is not None else {}
        timed = asked.latency or asked.budget == "latency"
        times = latencies({name: made.networks[name] for name in ("dense", "compensated")}, job.shape) if timed else {}
        stages = {name: _stage(job, made, found[name], times, name) for name in ORDER if name in found}
        identity = shared.quality("identity", asked.ssim3d, lambda: task.baseline(job.splits.calibration, job.splits.test, asked.ssim3d))
        for name, k in task.examples(found[final_stage(found)]).items():
            shown = {"dense": job.dense, "pruned": made.last}
            write_crop(folder, name, job.splits.test.pairs[k], restored(shown, job.splits.test.pairs[k]))
    told = _told(plan, job, made, found, stages) | {"baselines": baselines_summary(others)}
    told["finetuning"] = finetuning_summary(plan.config["finetune"], tuning.notes)
    told["warnings"] += finetuning_warnings(task, told["finetuning"]) + task.doubts(identity, stages["dense"].quality)
    missed = missed_target(made.selected.problem.budget, asked.sparsity, stages)
    told["warnings"] += missed
    metrics = write_metrics(folder, identity, stages, job.shape, **told)
    for warning in told["warnings"]:
        LOG.warning(warning)
    lines = [run_table(task, identity, stages), *baseline_lines(task, others)]
    lines += [solution_lines(made.selected.problem, made.selected.solution, told["fidelity"])]
    table = "\n".join(lines) + refinement_line(task, told["refinement"])
    return Pruned(made.refined.keep, made.last, metrics, table, next(iter(missed), ""), tuple(shared.taken))


@dataclass(frozen=True)
class _Made:
    """What there is before anything is measured.

    Attributes:
        selected: scores, problem and mask.
        refined: the mask after its refinement.
        compensation: how re-fitting went.
        masks: (n,) each, by stage.
        networks: by stage, and ``begun``: what the refinement began with.
        last: the smaller network.
    """

    selected: Selected
    refined: Solution
    compensation: Mapping[str, Any]
    masks: dict[str, Bools]
    networks: dict[str, nn.Module]
    last: nn.Module


def _made(plan: RunPlan, job: Job, shared: Shared, tuning: Tuning, folder: Folder) -> _Made:
    """Score, solve, refine, compensate, shrink, fine-tune."""
    asked, layout, splits, clock = plan.settings, job.layout, job.splits, shared.clock
    selected = select(plan, shared, job.budgets, tuning.between)
    problem, solved = selected.problem, selected.solution
    write_scores(folder, selected.scores)
    write_problem(folder, problem)
    write_solution(folder, problem, selected.scores, solved, selected.rounds, selected.fidelity)
    with clock("refine"):
        write_mask(folder, layout, solved.keep)
        refit = plan.compensate if selected.before is None else NoCompensation()  # weights that were trained stay while masks change
        metric = objective_metric(plan.refine.objective, refit, selected.base, layout, solved.keep, splits, asked.seed)
        log = EvaluationLog(metric, solved.keep, saved_state(folder, layout), partial(save_state, folder, layout))
        refined = plan.refine.refine(problem, solved, log, asked.seed)
        write_refinement(folder, layout, solved, refined, log.trace)
    with clock("compensate"):
        fitted, compensation = plan.compensate.fit(selected.base, layout, refined.keep, splits, asked.seed, selected.before)
        write_compensation(folder, compensation)
    with clock("shrink"):
        masks = {"dense": np.ones(layout.n, bool), "solved": solved.keep, "refined": refined.keep, "compensated": refined.keep}
        own = {"dense": job.dense, "compensated": fitted, "begun": metric.model}
        networks = shrunk(selected.base, layout, masks | {"begun": solved.keep}, own)
    with clock("finetune"):
        last = tuning.last(networks["compensated"], refined.keep)
    tuned = {"finetuned": last} if last is not networks["compensated"] else {}
    return _Made(selected, refined, compensation, masks, networks | tuned, last)


def _told(plan: RunPlan, job: Job, made: _Made, found: Mapping[str, Quality], stages: Mapping[str, Stage]) -> dict[str, Any]:
    """How choosing went, for metrics.json."""
    asked, layout, task, selected = plan.settings, job.layout, task_of(job.splits), made.selected
    problem, keep = selected.problem, made.refined.keep
    idle = idle_filters(made.networks["compensated"], layout, keep)
    warnings = run_warnings(problem, selected.scores, made.refined, asked.sparsity, idle) + compensation_warnings(task, made.compensation)
    sparsity = {"asked": asked.sparsity, "budget": asked.budget} | obtained(problem.budget, keep, stages)
    if layout.n < layout.sizes.sum():  # a variable is a group of filters
        sparsity |= {"counts": "groups", "filters": 1 - layout.sizes[keep].sum() / layout.sizes.sum()}
    trust = {name: selected.fidelity[name] for name in ("swaps", "solved", "at_mask") if name in selected.fidelity}
    if asked.fidelity and "solved" not in trust:
        warnings.append(f"fidelity was not measured: only {trust.get('swaps', 0)} pairs of filters can be exchanged here")
    gained = refinement_summary(task, made.refined, plan.refine.objective, found)
    warnings += refinement_warnings(task, gained, len(job.splits.refinement))
    summary = {name: value for name, value in made.compensation.items() if name != "layers"}
    return {"sparsity": sparsity, "fidelity": trust, "refinement": gained, "compensation": summary, "warnings": warnings}


def _stage(job: Job, made: _Made, quality: Quality, times: Mapping[str, Latency], name: str) -> Stage:
    """A network of the run as it was measured; one that was trained on has size and latency of what it was before."""
    before = {"finetuned": "compensated", "dense_finetuned": "dense"}.get(name, name)
    return measured(made.networks[before], quality, job.shape, int(job.layout.sizes[made.masks[before]].sum()), times.get(before))


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
    return job.layout, select(own, Shared(Store(None), dense, job.layout, splits, Clock()), job.budgets).solution.keep
