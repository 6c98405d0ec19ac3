"""Choosing filters of networks that a transfer has trained, as the run itself chose them."""

from dataclasses import replace

from torch import nn

from qprune_cli.cache.shared import Shared
from qprune_cli.cache.store import Store
from qprune_cli.clock import Clock
from qprune_cli.roles import Scorer
from qprune_cli.run.job import prepare
from qprune_cli.run.plan import RunPlan
from qprune_cli.run.rounds import select
from qprune_cli.types import Bools, Layout, Splits


def choose(plan: RunPlan, dense: nn.Module, splits: Splits, seed: int, scorer: Scorer | None = None) -> tuple[Layout, Bools]:
    """The filters of a trained network and the (n,) mask that a plan takes, with its own scorer or another one; nothing is written.

    Args:
        plan: scorer, solver and settings.
        dense: the trained network.
        splits: the images.
        seed: of scorer and solver.
        scorer: None for that of the plan.
    """
    settings = replace(plan.settings, seed=seed, certify=False, fidelity=0)
    plan = replace(plan, settings=settings, scorer=scorer or plan.scorer)
    job = prepare(settings, dense, splits, plan.model.keep_layers, plan.model.wrap)
    shared = Shared(Store(None), dense, job.layout, splits, Clock())
    return job.layout, select(plan, shared, job.budgets).solution.keep
