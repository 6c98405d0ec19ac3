"""First-order sensitivity."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from qprune_cli.scores import Pairs, Scores
from qprune_cli.structure.dead import dead_first
from qprune_cli.structure.gates import check_pass, gate_statistics
from qprune_cli.structure.weights import weight_norms
from qprune_cli.types import Layout, Splits


@dataclass(frozen=True)
class Taylor:
    """First-order sensitivity: the mean absolute gate gradient, ``score_i = mean_s |V_si|``.

    Dead filters go first, those with the smaller weights before the others.

    Args:
        loss: per-image loss whose rise is predicted: psnr, mse or l1.
        batch: images per pass.

    References:
        Molchanov et al., "Importance estimation for neural network pruning", CVPR 2019, arXiv:1906.10771.
    """

    loss: str = "psnr"
    batch: int = 8

    def __post_init__(self) -> None:
        check_pass(self.loss, self.batch)

    def score(self, model: nn.Module, layout: Layout, splits: Splits, seed: int) -> Scores:
        """One forward and backward pass over the calibration images."""
        seen = gate_statistics(model, layout, splits.calibration, self.loss, self.batch)
        scores = Scores(np.abs(seen.gradients).mean(axis=0), Pairs.none(), seen.dead)
        return dead_first(scores, weight_norms(model, layout))
