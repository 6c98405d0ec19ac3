"""What a user should know about a run without having asked."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from qprune_cli.evaluate.task import Task
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Scores
from qprune_cli.types import Solution


def run_warnings(problem: PruningProblem, scores: Scores, solution: Solution, sparsity: float, idle: int = 0) -> list[str]:
    """Look for results that mean less than they seem to; one sentence each.

    Args:
        problem: what was solved.
        scores: what the filters are worth; what its scorer warns of comes first.
        solution: the mask.
        sparsity: what was asked.
        idle: kept filters that nothing reads any more.
    """
    keep = solution.keep
    wanted = round(len(keep) * (1 - sparsity))
    dead = np.zeros_like(keep) if scores.dead is None else scores.dead
    warnings = list(scores.notes.get("warnings", ()))
    if keep.all():
        warnings.append("no filter was removed: sparsity rounds to 0 filters")
    if not solution.feasible:
        warnings.append("the mask does not meet the budget or the floors")
    if problem.budget.exact and problem.budget.limit != wanted:
        warnings.append(f"{problem.budget.limit:.0f} filters stay where {wanted} were asked: the allowed widths add up to no nearer number")
    if idle > 0:
        warnings.append(f"{idle} kept filters feed only what was dropped: the smaller network leaves them out as well")
    if (~keep).any() and dead[~keep].all():
        warnings.append(
            f"only filters that are dead on the calibration images were removed ({(~keep).sum()} of {dead.sum()}): methods hardly differ"
        )
    if (dead & keep).any() and (~dead & ~keep).any():
        warnings.append(
            f"{(dead & keep).sum()} of the dead filters stay while live ones go: the budget or what layers are to keep asks for it"
        )
    if problem.pairs.empty and not keep.all() and _tie(problem, solution):
        warnings.append("filters with equal scores lie on both sides of the cut: the choice among them is arbitrary")
    return warnings


def compensation_warnings(task: Task, notes: Mapping[str, Any]) -> list[str]:
    """Say where re-fitting was tried and left out."""
    if notes.get("accepted", True):
        return []
    if all(row["chosen"] == "as it is" for row in notes["layers"]):
        return ["re-fitting left all weights as they are: nothing did better on the held-out calibration images (it needs at least two)"]
    before, after = (task.merit.text(notes[f"refinement_{task.merit.name}"][name]) for name in ("before", "after"))
    return [f"re-fitted weights were left out: they give {after} on the refinement images, {before} without them"]


def fidelity_warnings(swaps: int, fidelity: Mapping[str, Any]) -> list[str]:
    """Say so where fidelity was asked for and could not be measured.

    Args:
        swaps: exchanges of two filters that were asked for; 0 for none.
        fidelity: as it was measured.
    """
    if not swaps or "solved" in fidelity:
        return []
    return [f"fidelity was not measured: only {fidelity.get('swaps', 0)} pairs of filters can be exchanged here"]


def _tie(problem: PruningProblem, solution: Solution) -> bool:
    return bool(problem.linear[solution.keep].min() == problem.linear[~solution.keep].max())
