"""Masks of other scorers beside that of a run: the same budget, the same images, re-fitted in the same way."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from qprune_cli.cache.shared import Shared
from qprune_cli.cost.cost import Cost
from qprune_cli.evaluate.masked import qualities, shrunk
from qprune_cli.evaluate.task import task_of
from qprune_cli.problem.budget import Budget
from qprune_cli.run.plan import RunPlan, section
from qprune_cli.run.rounds import PLACES, select
from qprune_cli.types import Baseline, BaselineResult, Quality


def measure_baselines(plan: RunPlan, shared: Shared, budget: Budget, shape: tuple[int, int, int]) -> Sequence[BaselineResult]:
    """Choose and measure all baselines of a run.

    Args:
        plan: baselines, compensator and settings.
        shared: the trained network, its filters and images.
        budget: that masks have to meet.
        shape: (C, H, W) that multiply-accumulates are counted for.
    """
    wanted = plan.baselines.list(plan.settings.seed)
    cost = Cost(shared.dense, shared.layout, shape) if wanted else None
    return [_one(plan, shared, budget, cost, baseline) for baseline in wanted if cost]


def _one(plan: RunPlan, shared: Shared, budget: Budget, cost: Cost, baseline: Baseline) -> BaselineResult:
    asked = replace(plan.settings, seed=baseline.seed, certify=False, fidelity=0, rounds=1)
    own = replace(plan, settings=asked, scorer=baseline.scorer, solver=baseline.solver)
    keep = select(own, shared, (budget,)).solution.keep

    def made() -> dict[str, Quality]:
        fitted, _ = plan.compensate.fit(shared.dense, shared.layout, keep, shared.splits, baseline.seed)
        networks = shrunk(shared.dense, shared.layout, {"solved": keep, "compensated": keep}, {"compensated": fitted})
        found = qualities(task_of(shared.splits), networks, shared.splits.test, asked.ssim3d)
        return {stage: quality for stage, quality in found.items() if stage == "solved" or quality is not found["solved"]}

    settings: dict[str, Any] = {name: value for name, value in asdict(asked).items() if name not in PLACES}
    settings |= {"keep": keep.tolist(), "compensate": section(plan.compensate)}
    told = f"{baseline.name}, {int(keep.sum())} of {len(keep)} filters, seed {baseline.seed}"
    return BaselineResult(baseline, keep, cost.footprint(keep), shared.baseline(settings, told, asked.ssim3d, made))
