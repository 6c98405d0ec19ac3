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
from qprune_cli.clock import Clock
from qprune_cli.compensate.objective import objective_metric
from qprune_cli.evaluate.masked import qualities, restored, shrunk
from qprune_cli.evaluate.task import task_of
from qprune_cli.finetuning import Tuning
from qprune_cli.plan import RunPlan, RunSettings
from qprune_cli.problem.budget import Budget
from qprune_cli.record.budget import missed_target, obtained, solution_lines
from qprune_cli.record.crops import write_crop
from qprune_cli.record.finetuning import finetuning_summary, finetuning_warnings
from qprune_cli.record.folder import Folder
from qprune_cli.record.refinement import refinement_line, refinement_summary, refinement_warnings, save_state, saved_state, write_refinement
from qprune_cli.record.run import write_compensation, write_mask, write_metrics, write_problem, write_scores, write_solution
from qprune_cli.record.table import run_table
from qprune_cli.record.warning import compensation_warnings, run_warnings
from qprune_cli.roles import Scorer
from qprune_cli.search.ledger import Ledger
from qprune_cli.selection import select
from qprune_cli.structure.latency import latencies
from qprune_cli.structure.loss import LOSSES
from qprune_cli.structure.measure import measured
from qprune_cli.structure.shrink import idle_filters
from qprune_cli.structure.trace import trace
from qprune_cli.target import budgets, kept_layers
from qprune_cli.types import Bools, Latency, Layout, Quality, Splits, Stage, final_stage

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
    shared = Shared(Store.of_user(asked.cache), dense, layout, splits, clock)
    tuning = Tuning(plan.finetune, shared, asked.seed, asked.rounds, folder)
    selected = select(plan, shared, job.budgets, tuning.between)
    scores, problem, solved = selected.scores, selected.problem, selected.solution
    write_scores(folder, scores)
    write_problem(folder, problem)
    write_solution(folder, problem, scores, solved, selected.rounds, selected.fidelity)
    with clock("refine"):
        write_mask(folder, layout, solved.keep)
        metric = objective_metric(plan.refine.objective, selected.compensate, selected.base, layout, solved.keep, splits, asked.seed)
        ledger = Ledger(metric, solved.keep, saved_state(folder, layout), partial(save_state, folder, layout))
        refined = plan.refine.refine(problem, solved, ledger, asked.seed)
        write_refinement(folder, layout, solved, refined, ledger.trace)
    with clock("compensate"):
        fitted, compensation = selected.compensate.fit(selected.base, layout, refined.keep, splits, asked.seed)
        write_compensation(folder, compensation)
    with clock("shrink"):
        masks = {"dense": np.ones(layout.n, bool), "solved": solved.keep, "refined": refined.keep, "compensated": refined.keep}
        own = {"dense": dense, "compensated": fitted, "begun": metric.model}
        networks = shrunk(selected.base, layout, masks | {"begun": solved.keep}, own)
    with clock("finetune"):
        last = tuning.last(networks["compensated"], refined.keep)
        networks |= {"finetuned": last} if last is not networks["compensated"] else {}
        rival = tuning.rival(asked.ssim3d, lambda network: task.quality(network, splits.test, asked.ssim3d))
    with clock("measure"):
        known = shared.quality("dense", asked.ssim3d, lambda: task.quality(dense, splits.test, asked.ssim3d))
        found = qualities(task, networks, splits.test, asked.ssim3d, {"dense": known})
        found |= {"dense_finetuned": rival} if rival is not None else {}
        timed = asked.latency or asked.budget == "latency"
        times = latencies({name: networks[name] for name in ("dense", "compensated")}, job.shape) if timed else {}
        stages = {name: _stage(job, networks, found, masks, times, name) for name in ORDER if name in found}
        identity = shared.quality("identity", asked.ssim3d, lambda: task.baseline(splits.calibration, splits.test, asked.ssim3d))
        for name, k in task.examples(found[final_stage(found)]).items():
            shown = {"dense": dense, "pruned": last}
            write_crop(folder, name, splits.test.pairs[k], restored(shown, splits.test.pairs[k]))
    warnings = run_warnings(problem, scores, refined, asked.sparsity, idle_filters(networks["compensated"], layout, refined.keep))
    warnings += compensation_warnings(task, compensation) + task.doubts(identity, stages["dense"].quality)
    finetuning = finetuning_summary(plan.config["finetune"], tuning.notes)
    warnings += finetuning_warnings(task, finetuning)
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
    told = {
        "sparsity": sparsity,
        "fidelity": trust,
        "refinement": gained,
        "compensation": summary,
        "finetuning": finetuning,
        "warnings": warnings,
    }
    metrics = write_metrics(folder, identity, stages, job.shape, **told)
    for warning in warnings:
        LOG.warning(warning)
    table = f"{run_table(task, identity, stages)}\n{solution_lines(problem, solved, trust)}{refinement_line(task, gained)}"
    return Pruned(refined.keep, last, metrics, table, next(iter(missed), ""), tuple(shared.taken))


def _stage(
    job: Job,
    networks: Mapping[str, nn.Module],
    found: Mapping[str, Quality],
    masks: Mapping[str, Bools],
    times: Mapping[str, Latency],
    name: str,
) -> Stage:
    """A network of the run as it was measured; one that was trained on has size and latency of what it was before."""
    before = {"finetuned": "compensated", "dense_finetuned": "dense"}.get(name, name)
    return measured(networks[before], found[name], job.shape, int(job.layout.sizes[masks[before]].sum()), times.get(before))


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
