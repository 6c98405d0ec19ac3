"""Second-order sensitivity."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from qprune_cli.scores import Pairs, Scores
from qprune_cli.structure.dead import dead_first
from qprune_cli.structure.gates import check_pass, gate_statistics
from qprune_cli.structure.weights import weight_norms
from qprune_cli.types import Layout, Splits


@dataclass(frozen=True)
class Fisher:
    """Second-order sensitivity: half the mean squared gate gradient, ``score_i = 1/2 mean_s V_si**2``.

    Squares are taken per image, before the mean.

    Dead filters go first, those with the smaller weights before the others.

    Args:
        loss: per-image loss whose rise is predicted: psnr, mse or l1.
        batch: images per pass.

    References:
        Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", 2018, arXiv:1801.05787.
    """

    loss: str = "psnr"
    batch: int = 8

    def __post_init__(self) -> None:
        check_pass(self.loss, self.batch)

    def score(self, model: nn.Module, layout: Layout, splits: Splits, seed: int) -> Scores:
        """One forward and backward pass over the calibration images."""
        seen = gate_statistics(model, layout, splits.calibration, self.loss, self.batch)
        scores = Scores(0.5 * np.square(seen.gradients).mean(axis=0), Pairs.none(), seen.dead)
        return dead_first(scores, weight_norms(model, layout))
