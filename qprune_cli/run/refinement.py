"""The stage of a run that tunes the solver's mask on the true metric."""

from torch import nn

from qprune_cli.regression.objective import objective_metric
from qprune_cli.run.job import Job
from qprune_cli.run.observer import Observer
from qprune_cli.run.plan import RunPlan
from qprune_cli.run.rounds import Selected
from qprune_cli.search.evaluations import EvaluationLog
from qprune_cli.types import Solution


def refine(plan: RunPlan, job: Job, selected: Selected, observer: Observer) -> tuple[Solution, nn.Module]:
    """Tune the solver's mask, or go on with a refinement that was stopped.

    Args:
        plan: refiner, compensator and settings.
        job: network and images.
        selected: the solver's mask and the network that it is for.
        observer: keeps the best mask so far, and hears of the end.

    Returns:
        The refined mask, and the network in the dense one's shape that the refinement measured masks on.
    """
    solved, layout, seed = selected.solution, job.layout, plan.settings.seed
    compensator = plan.compensate if selected.before is None else None  # weights that were trained stay while masks change
    metric = objective_metric(plan.refine.objective, compensator, selected.base, layout, solved.keep, job.splits, seed)
    log = EvaluationLog(metric, solved.keep, observer.saved_refinement(), observer.refining)
    refined = plan.refine.refine(selected.problem, solved, log, seed)
    observer.refined(solved, refined, log.trace)
    return refined, metric.model
