"""What was chosen and why: scores.npz, problem.npz, solution.json, mask.npz, compensation.csv."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.record.folder import Folder
from qprune_cli.scores import Pairs, Scores
from qprune_cli.types import Bools, Layout, Solution


def write_scores(folder: Folder, scores: Scores) -> None:
    """scores.npz: linear, dead, and the pairs."""
    measured = {} if scores.dead is None else {"dead": scores.dead}
    folder.arrays("scores.npz", {"linear": scores.linear} | _coupled(scores.pairs, len(scores.linear)) | measured)


def write_problem(folder: Folder, problem: PruningProblem) -> None:
    """problem.npz: everything a solver was given."""
    budget = problem.budget
    folder.arrays(
        "problem.npz",
        {"linear": problem.linear, "layer_of": problem.layer_of, "budget": np.array(budget.limit)}
        | {"fewest": budget.fewest, "most": budget.most, "counts": np.concatenate(budget.counts)}
        | {"count_of": np.repeat(np.arange(len(budget.counts)), [len(options) for options in budget.counts])}
        | _coupled(problem.pairs, problem.layout.n),
    )


def write_solution(
    folder: Folder,
    problem: PruningProblem,
    scores: Scores,
    solved: Solution,
    rounds: Sequence[Mapping[str, Any]],
    fidelity: Mapping[str, Any],
) -> None:
    """solution.json: how scorer and solver went, and whether the loss agrees; what the scorer warns of stands among the warnings."""
    kept = dict(zip((g.layer for g in problem.layout.groups), problem.kept_per_layer(solved.keep).tolist(), strict=True))
    stated = {name: getattr(solved, name) for name in ("damage", "bound", "feasible", "seconds")}
    stated |= {
        "gap": problem.gap(solved),
        "budget": problem.budget.name,
        "spent": problem.budget.spent(solved.keep),
        "rounds": list(rounds),
        "fidelity": fidelity,
    }
    stated |= {"kept": int(solved.keep.sum()), "asked": problem.budget.limit, "kept_per_layer": kept}
    notes = {name: value for name, value in scores.notes.items() if name != "warnings"}
    folder.json("solution.json", dict(solved.notes) | stated | ({"scorer": notes} if notes else {}))


def write_mask(folder: Folder, layout: Layout, keep: Bools) -> None:
    """mask.npz: one (filters,) bool array per layer, True = keep, and ``keep`` (n,) for all."""
    folder.arrays("mask.npz", layout.masks(keep) | {"keep": keep})


def write_compensation(folder: Folder, notes: Mapping[str, Any]) -> None:
    """compensation.csv: what was chosen for each layer, and what it was worth, where weights were re-fitted."""
    if notes.get("layers"):
        folder.table("compensation.csv", [row | {"taken": notes["accepted"]} for row in notes["layers"]])


def _coupled(pairs: Pairs, n: int) -> dict[str, NDArray[Any]]:
    """Couplings as arrays: a list of those within layers, and the factor where there is one."""
    i, j, weight = Pairs(pairs.blocks).entries(n)
    return {"i": i, "j": j, "weight": weight} | ({} if pairs.factor is None else {"factor": pairs.factor})
