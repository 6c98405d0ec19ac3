"""A network that can be pruned as asked, with its images; made and checked before anything is written."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from qprune_cli.cache.recent import Recent
from qprune_cli.calibration.loss import LOSSES
from qprune_cli.device import pick_device
from qprune_cli.evaluate.task import Task, task_of
from qprune_cli.graph.trace import trace
from qprune_cli.problem.budget import Budget
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.run.budgets import budgets, kept_layers
from qprune_cli.run.plan import RunPlan, section
from qprune_cli.run.settings import RunSettings
from qprune_cli.scores import Pairs
from qprune_cli.types import Layout, Splits

SPLITS = Recent[str, Splits]()


@dataclass(frozen=True)
class Job:
    """A network to prune, its images, and what its mask has to meet.

    Attributes:
        dense: the trained network.
        layout: its n filters.
        splits: the images.
        budgets: what a mask has to meet, one for each round; the last is what was asked.
        target: other images, that the chosen filters are tried on; None where that is not wanted.
    """

    dense: nn.Module
    layout: Layout
    splits: Splits
    budgets: tuple[Budget, ...]
    target: Splits | None = None

    @property
    def task(self) -> Task:
        """What the network is for."""
        return task_of(self.splits)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) that multiply-accumulates are counted for."""
        return self.task.shape(self.splits.test)


def load(plan: RunPlan) -> Job:
    """Load the network and the images of a run, and check that it can be done.

    Raises:
        UserError: bad data or weights, a network that cannot be followed, or a target that cannot be reached.
    """
    settings = plan.settings
    dense = plan.model.load().to(pick_device(settings.device))
    splits = load_splits(plan)
    prepared = prepare(settings, dense, splits, plan.model.keep_layers, plan.model.wrap)
    plan.solver.check(PruningProblem(prepared.layout, np.zeros(prepared.layout.n), Pairs.none(), prepared.budgets[0]))
    plan.finetune.ready(splits)
    return Job(dense, prepared.layout, splits, prepared.budgets, plan.transfer.load(dense, settings.seed))


def prepare(settings: RunSettings, dense: nn.Module, splits: Splits, keep_layers: Sequence[str], wrap: Sequence[str]) -> Job:
    """Check that a network can be pruned as asked.

    Args:
        settings: budget, limits, rounds and the like.
        dense: the trained network.
        splits: the images.
        keep_layers: layers whose filters all stay: qualified names or patterns.
        wrap: black boxes that are kept whole (see ``trace``).

    Raises:
        UserError: the images do not fit, the network cannot be followed, or the target cannot be reached.
    """
    task, example = task_of(splits), splits.calibration.pairs[0].input
    task.refuse_loss("loss", settings.loss, LOSSES)
    task.refuse_unjudgeable(splits.test, len(example))
    task.refuse_unfit(dense, (splits.calibration, splits.refinement, splits.test))
    layout = trace(dense, torch.empty(1, *example.shape), settings.granularity, keep_layers, wrap)
    if whole := kept_layers(settings, [member.layer for group in layout.groups for member in group.members]):
        layout = trace(dense, torch.empty(1, *example.shape), settings.granularity, [*keep_layers, *whole], wrap)
    return Job(dense, layout, splits, budgets(settings, dense, layout, task.shape(splits.test)))


def load_splits(plan: RunPlan) -> Splits:
    """The images of a run; jobs of one sweep that follow each other in one process and have the same ones read them once."""
    if plan.begun is None:
        return plan.data.load(plan.settings.seed)
    key = json.dumps([str(plan.begun.path.parent), section(plan.data), plan.settings.seed])
    return SPLITS.get(key, lambda: plan.data.load(plan.settings.seed))
