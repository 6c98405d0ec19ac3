"""What was asked, what was obtained, and how good the solver says it is."""

from collections.abc import Mapping
from typing import Any

from qprune_cli.problem.budget import Budget, amount
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Bools, Solution, Stage

NOISE = 0.05  # by which a measured latency may exceed its budget before it counts as missed


def asked_line(budget: Budget) -> str:
    """What a budget lets stay."""
    return f"keeps {budget.limit:,.0f}" if budget.exact else f"leaves at most {amount(budget.name, budget.limit)}"


def measured_share(name: str, stages: Mapping[str, Stage]) -> float:
    """What the smaller network has of the dense one's parameters, multiply-accumulates or latency, as they were counted on it."""
    dense, small = stages["dense"], stages["compensated"]
    if name == "latency":
        assert dense.latency is not None and small.latency is not None, "a latency budget is measured"
        return small.latency.median / dense.latency.median
    return float(getattr(small.footprint, name) / getattr(dense.footprint, name))


def obtained(budget: Budget, keep: Bools, stages: Mapping[str, Stage]) -> dict[str, Any]:
    """The share that an (n,) mask removed; for a cost also what was spent of the limit, as the solver knew it."""
    if budget.exact:
        return {"got": 1 - float(keep.mean())}
    spent = "predicted" if budget.name == "latency" else "spent"
    return {"got": 1 - measured_share(budget.name, stages), "limit": budget.limit, spent: budget.spent(keep)}


def missed_target(budget: Budget, sparsity: float, stages: Mapping[str, Stage]) -> list[str]:
    """Say so where the smaller network, as it was built, exceeds its budget."""
    if budget.exact:
        return []
    share, wanted = measured_share(budget.name, stages), 1 - sparsity
    if share <= wanted + (NOISE if budget.name == "latency" else 1e-9):
        return []
    return [f"budget={budget.name}: the smaller network has {share:.3f} of the dense one's, more than the {wanted:.3f} that was asked"]


def solution_lines(problem: PruningProblem, solution: Solution, fidelity: Mapping[str, Any]) -> str:
    """One line on the budget, the damage and its proof; one on how far the scores can be trusted."""
    budget = problem.budget
    spent = f"{amount(budget.name, budget.spent(solution.keep))} of {amount(budget.name, budget.limit)}"
    proof = "" if solution.bound is None else f"; no mask can do less than {solution.bound:.5g}"
    lines = [f"budget: {spent}; predicted damage {solution.damage:.5g}{proof}"]
    correlations = {name: fidelity[name]["correlation"] for name in ("solved", "at_mask") if name in fidelity}
    if any(value is not None for value in correlations.values()):
        texts = {name: "none" if value is None else f"{value:.2f}" for name, value in correlations.items()}
        lines.append(
            f"fidelity over {fidelity['swaps']} swaps: {texts['solved']} as solved, {texts['at_mask']} with scores taken at the mask"
        )
    return "\n".join(lines)
