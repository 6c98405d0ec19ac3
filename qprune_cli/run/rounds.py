"""Which filters stay: score and solve, round after round, and how far the scores can be trusted."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from torch import nn

from qprune_cli.cache.shared import Shared, scores_digest
from qprune_cli.evaluate.fidelity import FEWEST_SWAPS, fidelity, mean_loss
from qprune_cli.problem.bound import lower_bound
from qprune_cli.problem.budget import Budget
from qprune_cli.problem.local_search import repaired
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.remaining import Remaining
from qprune_cli.run.plan import RunPlan, section
from qprune_cli.run.settings import shaping
from qprune_cli.scores import Scores
from qprune_cli.search.moves import random_swaps
from qprune_cli.types import Bools, ImageSet, Solution

JUDGED = 24  # calibration images that fidelity is measured on


@dataclass(frozen=True)
class Selected:
    """What the last round left.

    Attributes:
        scores: what it was solved with.
        problem: that problem, over all n filters.
        solution: the mask, with the lower bound of its damage where one is known.
        rounds: one row for each round.
        fidelity: see ``fidelity``; empty where it was not asked for.
        base: the network that the mask is for: the dense one, or what was trained between the rounds, in its shape.
        before: (n,) mask that it was trained behind; None for the dense one.
    """

    scores: Scores
    problem: PruningProblem
    solution: Solution
    rounds: list[dict[str, Any]]
    fidelity: dict[str, Any]
    base: nn.Module
    before: Bools | None


class Between(Protocol):
    """What is done with a network between two rounds."""

    def __call__(self, network: nn.Module, keep: Bools, number: int) -> nn.Module:
        """Train a network, silenced at the (n,) mask of a round; the very network where nothing is done."""


def untrained(network: nn.Module, keep: Bools, number: int) -> nn.Module:
    """Leave a network as it is between two rounds, whatever the (n,) mask."""
    return network


def select(plan: RunPlan, shared: Shared, budgets: tuple[Budget, ...], between: Between = untrained) -> Selected:
    """Prune in rounds: each scores what is left at the mask of the one before, and takes away some more.

    With compensation on, the weights are re-fitted between the rounds, so that a round scores the network that would be used. Once they
    were trained between rounds, what the trained layers gave is what they are to give again.

    Args:
        plan: scorer, solver, compensator and settings.
        shared: the trained network, its filters and images, and what earlier runs have found about them.
        budgets: one for each round; the last one is what was asked.
        between: trains between the rounds.
    """
    seed, dense, layout, splits, clock = plan.settings.seed, shared.dense, shared.layout, shared.splits, shared.clock
    base: nn.Module = dense
    before: Bools | None = None
    network, keep = dense, np.ones(layout.n, bool)
    rows: list[dict[str, Any]] = []
    for number, budget in enumerate(budgets):
        if number:
            with clock("compensate"):
                fitted, _ = plan.compensate.fit(base, layout, keep, splits, seed, before)
            with clock("finetune"):
                network = between(fitted, keep, number)
            if network is not fitted:
                base, before = network, keep
        with clock("score"):
            score = partial(plan.scorer.score, network, layout, splits, seed, keep, dense)
            scores = shared.scores(section(plan.scorer), seed, keep, network, score)
        problem = PruningProblem(layout, scores.linear, scores.pairs, budget)
        with clock("solve"):
            solution = solve(plan, Remaining(problem, keep))
        keep = solution.keep
        rows.append({"kept": int(keep.sum()), "limit": budget.limit, "spent": budget.spent(keep), "damage": solution.damage})
    with clock("fidelity"):
        judge = partial(measured_fidelity, plan, shared, network, scores, problem, keep)
        trust = shared.fidelity(_fidelity_key(plan, scores), keep, network, judge) if plan.settings.fidelity else {}
    return Selected(scores, problem, solution, rows, trust, base, before)


def solve(plan: RunPlan, remaining: Remaining) -> Solution:
    """Solve among the remaining filters, and prove how good the result is where that can be done.

    Where allowed widths or what is left of a budget ask for it, filters of earlier rounds come back.
    """
    whole, problem = remaining.whole, remaining.problem
    part = plan.solver.solve(problem, plan.settings.seed)
    bounds = [bound for bound in (part.bound, lower_bound(problem) if plan.settings.certify else None) if bound is not None]
    keep = repaired(whole, remaining.expanded(part.keep))
    bound = max(bounds) + remaining.damage_before if bounds and not (keep & ~remaining.keep).any() else None
    return whole.judge(keep, part.seconds, bound, **part.notes)


def measured_fidelity(
    plan: RunPlan, shared: Shared, network: nn.Module, scores: Scores, problem: PruningProblem, keep: Bools
) -> dict[str, Any]:
    """How well the scores that the mask was chosen with predict the loss, and the same scores taken at the mask.

    Args:
        plan: scorer and settings.
        shared: the dense network, its n filters and the images.
        network: that was scored in the last round.
        scores: of the last round.
        problem: that was made of them.
        keep: (n,) the mask.

    Returns:
        Rank correlations with every swap (see ``fidelity``); the number of swaps alone where there are too few.
    """
    settings, layout, splits = plan.settings, shared.layout, shared.splits
    dead = np.zeros(layout.n, bool) if scores.dead is None else scores.dead
    swaps = random_swaps(problem, keep, dead, settings.fidelity, np.random.default_rng(settings.seed))
    if len(swaps) < FEWEST_SWAPS:
        return {"swaps": len(swaps)}
    at_mask = plan.scorer.score(network, layout, splits, settings.seed, keep, shared.dense)
    problem_there = replace(problem, linear=at_mask.linear, pairs=at_mask.pairs)
    every = max(1, len(splits.calibration) // JUDGED)
    images = ImageSet(splits.calibration.pairs[::every][:JUDGED])
    true_loss = partial(mean_loss, network, layout, images=images, loss=settings.loss)
    return {"images": len(images)} | fidelity(true_loss, {"solved": problem.damage, "at_mask": problem_there.damage}, keep, swaps)


def _fidelity_key(plan: RunPlan, scores: Scores) -> Mapping[str, Any]:
    """All that fidelity depends on, beside network, images and mask."""
    return {"settings": shaping(asdict(plan.settings)), "scorer": section(plan.scorer), "scores": scores_digest(scores)}
