"""What every method has to beat: random masks, and masks by what the loss costs when each filter goes alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from qprune_cli.errors import UserError
from qprune_cli.types import Baseline


@dataclass(frozen=True)
class Standard:
    """Masks of other scorers in the same budget, chosen greedily in one round, measured raw and re-fitted as the run is.

    Args:
        draws: so many masks of ``random``, drawn from seeds of their own; one of every other scorer.
        scorers: whose masks.
        solver: that chooses them.
    """

    draws: int
    scorers: tuple[Any, ...] = field(default=(), metadata={"group": "scorer"})
    solver: Any = field(default=None, metadata={"component": "solver"})

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise UserError(f"baselines.draws={self.draws}: give a number of random masks, at least 1, or take baselines=none")

    def list(self, seed: int) -> Sequence[Baseline]:
        """List a baseline for each mask: its scorer, its solver and the seed of both, counted up from ``seed`` for random ones."""
        baselines = []
        for scorer in self.scorers:
            name = type(scorer).__module__.rpartition(".")[2]
            draws = self.draws if name == "random" else 1
            baselines += [Baseline(name, scorer, self.solver, seed + draw) for draw in range(draws)]
        return baselines
