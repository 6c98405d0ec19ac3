"""What a run found out, put into words: metrics, warnings, and the table at its end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from qprune_cli.record.budget import missed_target, obtained, solution_lines
from qprune_cli.record.finetuning import finetuning_summary, finetuning_warnings
from qprune_cli.record.metrics import baselines_summary, run_metrics
from qprune_cli.record.refinement import refinement_line, refinement_summary, refinement_warnings
from qprune_cli.record.table import baseline_lines, run_table
from qprune_cli.record.warning import compensation_warnings, fidelity_warnings, run_warnings
from qprune_cli.run.job import Job
from qprune_cli.run.measure import Measured
from qprune_cli.run.plan import RunPlan
from qprune_cli.run.rounds import Selected
from qprune_cli.surgery.shrink import idle_filters
from qprune_cli.types import BaselineResult, Layout, Solution


@dataclass(frozen=True)
class Outcome:
    """Everything that happened in a run.

    Attributes:
        plan: components and settings.
        job: network and images.
        selected: scores, problem and the solver's mask.
        refined: the mask after its refinement.
        compensation: how fitting weights anew went.
        networks: by stage.
        trainings: how each training went, by the name of its network.
        baselines: what the run is compared with.
        measured: quality, size and latency.
    """

    plan: RunPlan
    job: Job
    selected: Selected
    refined: Solution
    compensation: Mapping[str, Any]
    networks: Mapping[str, nn.Module]
    trainings: Mapping[str, Any]
    baselines: Sequence[BaselineResult]
    measured: Measured

    @property
    def missed(self) -> list[str]:
        """How the target was missed; empty where it was met."""
        return missed_target(self.selected.problem.budget, self.plan.settings.sparsity, self.measured.stages)


def metrics_of(outcome: Outcome) -> dict[str, Any]:
    """Put together what metrics.json holds of a run."""
    plan, job, selected, measured = outcome.plan, outcome.job, outcome.selected, outcome.measured
    refinement = refinement_summary(job.task, outcome.refined, plan.refine.objective, measured.qualities)
    finetuning = finetuning_summary(plan.config["finetune"], outcome.trainings)
    return run_metrics(
        measured.identity,
        measured.stages,
        job.shape,
        sparsity=_sparsity(outcome),
        fidelity={name: selected.fidelity[name] for name in ("swaps", "solved", "at_mask") if name in selected.fidelity},
        refinement=refinement,
        compensation={name: value for name, value in outcome.compensation.items() if name != "layers"},
        warnings=_warnings(outcome, refinement, finetuning),
        baselines=baselines_summary(outcome.baselines),
        finetuning=finetuning,
    )


def table_of(outcome: Outcome, metrics: Mapping[str, Any]) -> str:
    """The lines at the end of a run, to be read."""
    job, selected, measured = outcome.job, outcome.selected, outcome.measured
    lines = [run_table(job.task, measured.identity, measured.stages), *baseline_lines(job.task, outcome.baselines)]
    lines += [solution_lines(selected.problem, selected.solution, metrics["fidelity"])]
    return "\n".join(lines) + refinement_line(job.task, metrics["refinement"])


def _sparsity(outcome: Outcome) -> dict[str, Any]:
    """What was asked and what was obtained; where a variable is a group of filters, also the share of filters."""
    settings, keep, layout = outcome.plan.settings, outcome.refined.keep, outcome.job.layout
    sparsity = {"asked": settings.sparsity, "budget": settings.budget}
    sparsity |= obtained(outcome.selected.problem.budget, keep, outcome.measured.stages)
    return sparsity | (_grouped(layout, float(layout.sizes[keep].sum())) if layout.n < layout.sizes.sum() else {})


def _grouped(layout: Layout, kept: float) -> dict[str, Any]:
    return {"counts": "groups", "filters": 1 - kept / layout.sizes.sum()}


def _warnings(outcome: Outcome, refinement: Mapping[str, Any], finetuning: Mapping[str, Any]) -> list[str]:
    """What a user should know without having asked, one sentence each."""
    settings, job, selected, measured = outcome.plan.settings, outcome.job, outcome.selected, outcome.measured
    idle = idle_filters(outcome.networks["compensated"], job.layout, outcome.refined.keep)
    return [
        *run_warnings(selected.problem, selected.scores, outcome.refined, settings.sparsity, idle),
        *compensation_warnings(job.task, outcome.compensation),
        *fidelity_warnings(settings.fidelity, selected.fidelity),
        *refinement_warnings(job.task, refinement, len(job.splits.refinement)),
        *finetuning_warnings(job.task, finetuning),
        *job.task.doubts(measured.identity, measured.stages["dense"].quality),
        *outcome.missed,
    ]
