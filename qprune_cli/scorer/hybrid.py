"""The linear and quadratic terms of the Hybrid QUBO."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from qprune_cli.errors import UserError
from qprune_cli.scores import Scores
from qprune_cli.structure.dead import dead_first
from qprune_cli.structure.gates import check_pass, gate_statistics
from qprune_cli.structure.redundancy import redundancy_pairs
from qprune_cli.structure.weights import weight_norms
from qprune_cli.types import Floats, Layout, Splits


@dataclass(frozen=True)
class Hybrid:
    r"""Taylor and Fisher sensitivities as linear term, activation similarity as quadratic term.

    ``damage(d) = sum_i I_i d_i + sum_{i<j} Q_ij d_i d_j`` with ``d = 1`` for a dropped filter. This is our reading of the
    paper, whose formulas are not public:

    * ``I_i = taylor * T_i + fisher * F_i``, with ``T_i = mean_s |V_si|`` and ``F_i = 1/2 mean_s V_si**2`` of the gate
      gradients V, each divided by its mean over all live filters of the network, so that layers stay comparable.
    * ``Q_ij = beta * s_l * cos_ij`` within a layer: filters that answer alike cannot both go cheaply. Activations are not
      centred; ``s_l`` puts the pairs on the scale of the layer's linear terms (see ``redundancy_pairs``).
    * The linear term may be lowered by a share ``discount`` of the filter's redundancy, ``sum_j Q_ij``. At 1 this is the
      energy of the kept filters, ``-I . x + sum_{i<j} Q_ij x_i x_j``, up to a constant: a redundant filter is then worth
      less on its own. Where the survivors are not re-fitted this is wrong, so the default is 0.
    * Dead filters go first, those with the smaller weights before the others; they take no part in the pairs.

    Args:
        taylor: weight of the first-order term.
        fisher: weight of the second-order term.
        beta: weight of the pairs; 0 leaves them out.
        discount: share of its redundancy that is taken off a filter's own worth, in [0, 1].
        loss: per-image loss whose rise is predicted: psnr, mse or l1.
        batch: images per pass.

    References:
        Orabi et al., "Neural Network Pruning via QUBO Optimization", 2026, arXiv:2604.05856.
    """

    taylor: float = 0.5
    fisher: float = 0.5
    beta: float = 0.5
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
        check_pass(self.loss, self.batch)

    def score(self, model: nn.Module, layout: Layout, splits: Splits, seed: int) -> Scores:
        """One forward and backward pass over the calibration images."""
        seen = gate_statistics(model, layout, splits.calibration, self.loss, self.batch)
        taylor, fisher = np.abs(seen.gradients).mean(axis=0), 0.5 * np.square(seen.gradients).mean(axis=0)
        worth = self.taylor * _relative(taylor) + self.fisher * _relative(fisher)
        pairs = redundancy_pairs(layout, list(seen.products), worth, self.beta)
        scores = Scores(worth - self.discount * pairs.sums(layout.n)[1], pairs, seen.dead)
        return dead_first(scores, weight_norms(model, layout))


def _relative(values: Floats) -> Floats:
    """Divide by the mean of the values above 0."""
    live = values[values > 0]
    return values / live.mean() if len(live) else values
