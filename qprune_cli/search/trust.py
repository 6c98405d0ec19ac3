"""A model of the loss near a mask, corrected by what the loss was seen to do."""

from dataclasses import dataclass, field, replace

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Pairs, Quadratic
from qprune_cli.types import Bools, Floats

BELIEF = 4.0  # observations that the model as it is counts for
FADE = 0.8  # weight of an observation for each gradient that is newer


@dataclass
class Trust:
    """How much slope and curvature have to be scaled so that the model tells the changes of the loss that were seen.

    ``change = slope * gradient . u + curvature * 1/2 |factor u|^2``, both factors by least squares over what was seen, drawn toward 1.
    """

    slope: float = 1.0
    curvature: float = 1.0
    rows: list[tuple[int, float, float, float]] = field(default_factory=list)

    def problem(self, problem: PruningProblem, bend: Quadratic, keep: Bools) -> PruningProblem:
        """The model around a mask as a problem of the same budget."""
        pairs = Pairs(factor=bend.factor * np.sqrt(self.curvature))
        scaled = Quadratic(self.slope * bend.gradient, bend.factor * np.sqrt(self.curvature), bend.dead)
        return replace(problem, linear=scaled.linear((~keep).astype(np.float64), pairs), pairs=pairs)

    def learn_(self, bend: Quadratic, keep: Bools, masks: Bools, changes: Floats, number: int) -> None:
        """Take in what the loss did from a mask to others.

        Args:
            bend: the model at the mask.
            keep: (n,) the mask.
            masks: (b, n) the others.
            changes: (b,) of the loss.
            number: of the model; older ones count less.
        """
        steps = masks.astype(np.float64) - keep
        first, second = steps @ bend.gradient, 0.5 * np.square(steps @ bend.factor.T).sum(axis=1)
        self.rows += [(number, float(a), float(b), float(c)) for a, b, c in zip(first, second, changes, strict=True)]
        when, a, b, change = np.array(self.rows).T
        weight = FADE ** (number - when)
        terms = np.stack([a, b], axis=1)
        gram, seen = (terms * weight[:, None]).T @ terms, (terms * weight[:, None]).T @ change
        prior = BELIEF * np.diag(np.diagonal(gram)) / max(weight.sum(), 1e-12)
        self.slope, self.curvature = np.maximum(np.linalg.lstsq(gram + prior, seen + prior.sum(axis=1), rcond=None)[0], 0.05).tolist()


def slope_problem(problem: PruningProblem, bend: Quadratic, keep: Bools) -> PruningProblem:
    """The same without couplings: slope and own curvature of each filter."""
    return replace(problem, linear=bend.linear((~keep).astype(np.float64), Pairs.none()), pairs=Pairs.none())
