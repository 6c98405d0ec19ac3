"""Connection sensitivity: how much the loss depends on the weights of each filter."""

from dataclasses import dataclass

from torch import nn

from qprune_cli.calibration.checks import check_pass
from qprune_cli.calibration.connection import connection_sensitivity
from qprune_cli.calibration.dead import linear_scores
from qprune_cli.scores import Scores
from qprune_cli.types import Bools, Layout, Splits


@dataclass(frozen=True)
class Snip:
    """Connection sensitivity: ``score_i = sum_w |w dL/dw|`` over the incoming weights w of filter i, biases left out.

    L is the mean over the calibration images of the per-image loss. The published score is divided by its sum over all
    weights, which changes no comparison. At a mask the gradients are taken there; the weights of a dropped filter get the
    gradient behind its gate. Dead filters go first, those with the smaller weights before the others.

    Args:
        loss: per-image loss whose change is predicted: psnr, mse, l1, or cross_entropy for classifiers.
        batch: images per pass.

    References:
        Lee et al., "SNIP: single-shot network pruning based on connection sensitivity", ICLR 2019, arXiv:1810.02340.
    """

    loss: str = "psnr"
    batch: int = 8

    def __post_init__(self) -> None:
        check_pass(self.loss, self.batch)

    def score(
        self, model: nn.Module, layout: Layout, splits: Splits, seed: int, keep: Bools | None = None, dense: nn.Module | None = None
    ) -> Scores:
        """One forward and backward pass over the calibration images, with gradients of the weights."""
        linear, dead = connection_sensitivity(model, layout, splits.calibration, self.loss, self.batch, keep)
        return linear_scores(model, layout, linear, dead)
