"""The linear and quadratic terms of the Hybrid QUBO."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from qprune_cli.calibration.checks import check_pass
from qprune_cli.calibration.dead import dead_first
from qprune_cli.calibration.gates import gate_statistics
from qprune_cli.calibration.redundancy import SIMILARITIES, check_redundancy, redundancy_pairs
from qprune_cli.calibration.weights import weight_norms
from qprune_cli.errors import UserError
from qprune_cli.scores import Scores
from qprune_cli.types import Bools, Floats, Layout, Splits


@dataclass(frozen=True)
class Hybrid:
    r"""Taylor and Fisher sensitivities as linear term, activation similarity as quadratic term.

    ``damage(d) = sum_i I_i d_i + sum_{i<j} Q_ij d_i d_j`` with ``d = 1`` for a dropped filter. This is our reading of the
    paper, whose formulas are not public:

    * Normalisation: ``I_i = taylor * T_i + fisher * F_i``, with ``T_i = mean_s |V_si|`` and ``F_i = 1/2 mean_s V_si**2`` of
      the gate gradients V, each divided by its mean over all live filters of the network, so that layers stay comparable.
    * Pairs: ``Q_ij = beta * s_l * w_ij * max(S_ij, 0)`` within layer l: filters that answer alike cannot both go cheaply.
      ``S_ij`` is the cosine of the activations over images and positions, which are not centred (``similarity="cosine"``), their
      correlation (``"centred"``), or the squared cosine (``"squared"``).
    * Pair scaling: ``w_ij`` is 1 (``scale="mean"``), or ``sqrt(I_i I_j)``, so that a pair of worthless filters weighs little
      (``scale="worth"``).
    * beta per layer: ``s_l = 2 mean_i I_i / mean_i sum_j w_ij max(S_ij, 0)``. At ``beta = 1``, when a random half of a layer is
      gone, the pairs add to the marginal of its filters on average as much as they are worth alone, however wide the layer.
    * The linear term may be lowered by a share ``discount`` of the filter's redundancy, ``sum_j Q_ij``. At 1 this is the
      energy of the kept filters, ``-I . x + sum_{i<j} Q_ij x_i x_j``, up to a constant: a redundant filter is then worth
      less on its own. Where the survivors are not re-fitted this is wrong, so the default is 0.
    * Dead filters go first, those with the smaller weights before the others; they take no part in the pairs.
    * At a mask gradients and activations are taken there, those of the dropped filters before their gate.

    Args:
        taylor: weight of the first-order term.
        fisher: weight of the second-order term.
        beta: weight of the pairs; 0 leaves them out.
        similarity: cosine, centred or squared.
        scale: how a pair is scaled: mean or worth.
        discount: share of its redundancy that is taken off a filter's own worth, in [0, 1].
        loss: per-image loss whose rise is predicted: psnr, mse, l1, or cross_entropy for classifiers.
        batch: images per pass.

    References:
        Orabi et al., "Neural Network Pruning via QUBO Optimization", 2026, arXiv:2604.05856.
    """

    taylor: float = 0.5
    fisher: float = 0.5
    beta: float = 0.5
    similarity: str = "cosine"
    scale: str = "mean"
    discount: float = 0.0
    loss: str = "psnr"
    batch: int = 8

    def __post_init__(self) -> None:
        for name in ("taylor", "fisher", "beta"):
            if not 0 <= getattr(self, name) < np.inf:
                raise UserError(f"scorer.{name}={getattr(self, name)}: give a weight, at least 0")
        if self.taylor + self.fisher == 0:
            raise UserError("scorer.taylor=0 scorer.fisher=0: give one of them a weight above 0")
        if not 0 <= self.discount <= 1:
            raise UserError(f"scorer.discount={self.discount}: give a share, in [0, 1]")
        check_redundancy(self.similarity, self.scale)
        check_pass(self.loss, self.batch)

    def score(
        self, model: nn.Module, layout: Layout, splits: Splits, seed: int, keep: Bools | None = None, dense: nn.Module | None = None
    ) -> Scores:
        """One forward and backward pass over the calibration images."""
        statistics = gate_statistics(model, layout, splits.calibration, self.loss, self.batch, keep)
        worth = self.taylor * _relative(statistics.mean_abs) + self.fisher * _relative(0.5 * statistics.mean_square)
        similar = [SIMILARITIES[self.similarity](activations) for activations in statistics.activations]
        pairs = redundancy_pairs(layout, similar, worth, self.beta, self.scale)
        scores = Scores(worth - self.discount * pairs.sums(layout.n)[1], pairs, statistics.dead)
        return dead_first(scores, weight_norms(model, layout))


def _relative(values: Floats) -> Floats:
    """(n,) values divided by the mean of those above 0."""
    live = values[values > 0]
    return values / live.mean() if len(live) else values
