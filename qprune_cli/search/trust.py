"""A second-order model of the loss near a mask, corrected by the changes of the loss that were measured."""

from dataclasses import dataclass, field, replace

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Pairs, Quadratic
from qprune_cli.types import Bools, Floats

BELIEF = 4.0  # number of observations that the uncorrected model counts as
FADE = 0.8  # factor on the weight of an observation for each newer model


@dataclass
class Trust:
    """Scales of gradient and curvature at which the model predicts the measured changes of the loss best.

    ``change = slope * gradient . u + curvature * 1/2 |factor u|^2``: both scales by least squares over the observations, drawn toward 1.

    Attributes:
        slope: scale of the gradient, at least 0.05.
        curvature: scale of the curvature, at least 0.05.
        rows: observations: number of the model, its two terms without scales, and the true change.
    """

    slope: float = 1.0
    curvature: float = 1.0
    rows: list[tuple[int, float, float, float]] = field(default_factory=list)

    def problem(self, problem: PruningProblem, model: Quadratic, keep: Bools) -> PruningProblem:
        """The scaled model around an (n,) mask as a problem of the same budget: its damage is the predicted loss, up to a constant."""
        pairs = Pairs(factor=model.factor * np.sqrt(self.curvature))
        scaled = Quadratic(self.slope * model.gradient, model.factor * np.sqrt(self.curvature), model.dead)
        return replace(problem, linear=scaled.linear((~keep).astype(np.float64), pairs), pairs=pairs)

    def learn_(self, model: Quadratic, keep: Bools, masks: Bools, changes: Floats, number: int) -> None:
        """Fit the scales anew, with further observations.

        Args:
            model: the model at a mask.
            keep: (n,) the mask.
            masks: (b, n) other masks.
            changes: (b,) true change of the loss from the mask to each other one.
            number: number of the model; observations of older models count less.
        """
        steps = masks.astype(np.float64) - keep
        first, second = steps @ model.gradient, 0.5 * np.square(steps @ model.factor.T).sum(axis=1)
        self.rows += [(number, float(a), float(b), float(c)) for a, b, c in zip(first, second, changes, strict=True)]
        numbers, a, b, change = np.array(self.rows).T
        weight = FADE ** (number - numbers)
        terms = np.stack([a, b], axis=1)
        gram, target = (terms * weight[:, None]).T @ terms, (terms * weight[:, None]).T @ change
        prior = BELIEF * np.diag(np.diagonal(gram)) / max(weight.sum(), 1e-12)
        self.slope, self.curvature = np.maximum(np.linalg.lstsq(gram + prior, target + prior.sum(axis=1), rcond=None)[0], 0.05).tolist()


def slope_problem(problem: PruningProblem, model: Quadratic, keep: Bools) -> PruningProblem:
    """The model around an (n,) mask without couplings, as a problem of the same budget: gradient and curvature of each filter alone."""
    return replace(problem, linear=model.linear((~keep).astype(np.float64), Pairs.none()), pairs=Pairs.none())
