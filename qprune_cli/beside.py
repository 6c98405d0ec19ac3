"""Masks of other scorers beside that of a run: the same budget, the same images, re-fitted in the same way."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from torch import nn

from qprune_cli.cache.shared import Shared
from qprune_cli.evaluate.masked import shrunk
from qprune_cli.plan import RunPlan, section
from qprune_cli.problem.budget import Budget
from qprune_cli.selection import PLACES, select
from qprune_cli.structure.cost import Cost
from qprune_cli.types import Baseline, Beside, Quality

Measure = Callable[[nn.Module], Quality]  # on the test images


def beside(plan: RunPlan, shared: Shared, budget: Budget, shape: tuple[int, int, int], measure: Measure) -> Sequence[Beside]:
    """Choose and measure all baselines of a run.

    Args:
        plan: baselines, compensator and settings.
        shared: the trained network, its filters and images.
        budget: that masks have to meet.
        shape: (C, H, W) that multiply-accumulates are counted for.
        measure: takes the quality of a network on the test images.
    """
    wanted = plan.baselines.list(plan.settings.seed)
    cost = Cost(shared.dense, shared.layout, shape) if wanted else None
    return [_one(plan, shared, budget, cost, measure, baseline) for baseline in wanted if cost]


def _one(plan: RunPlan, shared: Shared, budget: Budget, cost: Cost, measure: Measure, baseline: Baseline) -> Beside:
    asked = replace(plan.settings, seed=baseline.seed, certify=False, fidelity=0, rounds=1)
    own = replace(plan, settings=asked, scorer=baseline.scorer, solver=baseline.solver)
    keep = select(own, shared, (budget,)).solution.keep

    def made() -> dict[str, Quality]:
        fitted, _ = plan.compensate.fit(shared.dense, shared.layout, keep, shared.splits, baseline.seed)
        networks = shrunk(shared.dense, shared.layout, {"solved": keep, "compensated": keep}, {"compensated": fitted})
        qualities = {id(network): measure(network) for network in dict.fromkeys(networks.values())}
        stages = ("solved", "compensated") if len(qualities) > 1 else ("solved",)
        return {stage: qualities[id(networks[stage])] for stage in stages}

    settings: dict[str, Any] = {name: value for name, value in asdict(asked).items() if name not in PLACES}
    settings |= {"keep": keep.tolist(), "compensate": section(plan.compensate)}
    told = f"{baseline.name}, {int(keep.sum())} of {len(keep)} filters, seed {baseline.seed}"
    return Beside(baseline, keep, cost.footprint(keep), shared.rival(settings, told, asked.ssim3d, made))
