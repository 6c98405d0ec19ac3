"""First-order sensitivity: the mean size of the gate gradients."""

from dataclasses import dataclass

from torch import nn

from qprune_cli.calibration.checks import check_pass
from qprune_cli.calibration.dead import linear_scores
from qprune_cli.calibration.gates import gate_statistics
from qprune_cli.scores import Scores
from qprune_cli.types import Bools, Layout, Splits


@dataclass(frozen=True)
class Taylor:
    """First-order sensitivity: the mean absolute gate gradient, ``score_i = mean_s |V_si|``.

    At a mask the gradients are taken there, those of the dropped filters as well: what the loss does when one comes back, to
    first order. Dead filters go first, those with the smaller weights before the others.

    Args:
        loss: per-image loss whose rise is predicted: psnr, mse, l1, or cross_entropy for classifiers.
        batch: images per pass.

    References:
        Molchanov et al., "Importance estimation for neural network pruning", CVPR 2019, arXiv:1906.10771.
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
        return linear_scores(model, layout, statistics.mean_abs, statistics.dead)
