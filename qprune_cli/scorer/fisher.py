"""Second-order sensitivity: the mean square of the gate gradients."""

from dataclasses import dataclass

from torch import nn

from qprune_cli.calibration.checks import check_pass
from qprune_cli.calibration.dead import linear_scores
from qprune_cli.calibration.gates import gate_statistics
from qprune_cli.scores import Scores
from qprune_cli.types import Bools, Layout, Splits


@dataclass(frozen=True)
class Fisher:
    """Second-order sensitivity: half the mean squared gate gradient, ``score_i = 1/2 mean_s V_si**2``.

    Squares are taken per image, before the mean. At a mask the gradients are taken there, those of the dropped filters as well.
    Dead filters go first, those with the smaller weights before the others.

    Args:
        loss: per-image loss whose rise is predicted: psnr, mse, l1, or cross_entropy for classifiers.
        batch: images per pass.

    References:
        Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", 2018, arXiv:1801.05787.
    """

    loss: str = "psnr"
    batch: int = 8

    def __post_init__(self) -> None:
        check_pass(self.loss, self.batch)

    def score(
        self, model: nn.Module, layout: Layout, splits: Splits, seed: int, keep: Bools | None = None, dense: nn.Module | None = None
    ) -> Scores:
        """One forward and backward pass over the calibration images."""
        statistics = gate_statistics(model, layout, splits.calibration, self.loss, self.batch, keep)
        return linear_scores(model, layout, 0.5 * statistics.mean_square, statistics.dead)
