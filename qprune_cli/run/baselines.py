"""Masks of other scorers, measured like that of the run: the same budget, the same images, weights fitted in the same way."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from qprune_cli.cache.shared import Shared
from qprune_cli.cost.cost import Cost
from qprune_cli.evaluate.masked import qualities, shrunk
from qprune_cli.run.job import Job
from qprune_cli.run.plan import RunPlan, section
from qprune_cli.run.rounds import select
from qprune_cli.run.settings import shaping
from qprune_cli.types import Baseline, BaselineResult, Quality


def measure_baselines(plan: RunPlan, shared: Shared, job: Job) -> Sequence[BaselineResult]:
    """Choose and measure all baselines of a run.

    Args:
        plan: baselines, compensator and settings.
        shared: the trained network, its filters and images, and what earlier runs have measured.
        job: its last budget is what masks have to meet.
    """
    baselines = plan.baselines.list(plan.settings.seed)
    cost = Cost(shared.dense, shared.layout, job.shape) if baselines else None
    return [_measured(plan, shared, job, cost, baseline) for baseline in baselines if cost]


def _measured(plan: RunPlan, shared: Shared, job: Job, cost: Cost, baseline: Baseline) -> BaselineResult:
    settings = replace(plan.settings, seed=baseline.seed, certify=False, fidelity=0, rounds=1)
    keep = select(replace(plan, settings=settings, scorer=baseline.scorer, solver=baseline.solver), shared, job.budgets[-1:]).solution.keep

    def make() -> dict[str, Quality]:
        fitted, _ = plan.compensate.fit(shared.dense, shared.layout, keep, shared.splits, baseline.seed)
        networks = shrunk(shared.dense, shared.layout, {"solved": keep, "compensated": keep}, {"compensated": fitted})
        quality = qualities(job.task, networks, shared.splits.test, settings.ssim3d)
        return {stage: value for stage, value in quality.items() if stage == "solved" or value is not quality["solved"]}

    key: dict[str, Any] = shaping(asdict(settings)) | {"keep": keep.tolist(), "compensate": section(plan.compensate)}
    label = f"{baseline.name}, {int(keep.sum())} of {len(keep)} filters, seed {baseline.seed}"
    return BaselineResult(baseline, keep, cost.footprint(keep), shared.baseline(key, label, settings.ssim3d, make))
