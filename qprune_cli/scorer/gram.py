"""Second-order damage with cross terms, within layers or across the whole network."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from qprune_cli.calibration.checks import check_choice, check_pass
from qprune_cli.calibration.curvature import Curvature, curvature
from qprune_cli.calibration.weights import tie_breaks, weight_norms
from qprune_cli.errors import UserError
from qprune_cli.scores import Pairs, Quadratic, Scores
from qprune_cli.types import Bools, Floats, Layout, Splits

SLOPES = ("teacher", "loss", "none")
REACHES = ("network", "layer", "none")
TIE = 1e-9  # of the mean size of the linear terms: what dead filters are worth at most


@dataclass(frozen=True)
class Gram:
    r"""The loss to second order around a mask, with the curvature as a Gram matrix of a few random rows.

    With gates z at the mask, ``u = z' - z`` for another mask z', ``damage = g . u + 1/2 u^T H u``: g a mean gate gradient, and
    ``H = F^T F`` the Gauss-Newton matrix of the loss, sampled by ``probes`` random backward passes per image (see ``curvature``). In
    ``d = 1 - z'`` that is a quadratic problem again, with linear terms and couplings between all filters of the network, which are never
    written out: F has a few hundred rows.

    A removal is no small step, and the first order alone wants to remove filters with a large gradient; the curvature counters that.
    Taken at a mask this predicts the loss far better than any score of the dense network, so it is made for ``rounds``.

    The slope of the loss itself (``slope="loss"``) also knows by how much the noise of just these images happens to resemble what a filter
    gives, and a mask that follows it fits them rather than others. By default g is the slope of the loss as it would be if what the mask
    changes had nothing to do with the dense network's own error (``slope="teacher"``): at the dense network it is 0.

    H is sampled, so its couplings are noisy: they are multiplied by ``1 - shrink``. Dead filters cost nothing, those with the smaller
    weights least.

    Args:
        probes: random backward passes per image; 0 takes the gate gradients themselves as rows (``H = V^T V / N``, the empirical Fisher
            matrix, whose scale fits a log-likelihood only).
        slope: teacher, loss or none: whose slope g is.
        reach: network: couplings between all filters; layer: within layers only, which has a certificate; none: the diagonal alone.
        shrink: share of the couplings that is taken away, in [0, 1]; -1 takes as much as two halves of the images disagree.
        loss: per-image loss whose rise is predicted: psnr, mse, l1, or cross_entropy for classifiers.
        batch: images per pass.

    References:
        Hassibi, Stork, "Second order derivatives for network pruning: optimal brain surgeon", NIPS 1992 (the quadratic model). The rest,
        and its use over rounds, is ours.
    """

    probes: int = 4
    slope: str = "teacher"
    reach: str = "network"
    shrink: float = 0.0
    loss: str = "psnr"
    batch: int = 8

    def __post_init__(self) -> None:
        if self.probes < 0:
            raise UserError(f"scorer.probes={self.probes}: give a number of random passes, at least 0")
        check_choice("slope", self.slope, SLOPES)
        check_choice("reach", self.reach, REACHES)
        if not (self.shrink == -1 or 0 <= self.shrink <= 1):
            raise UserError(f"scorer.shrink={self.shrink}: give a share in [0, 1], or -1 to find it")
        check_pass(self.loss, self.batch)

    def score(
        self, model: nn.Module, layout: Layout, splits: Splits, seed: int, keep: Bools | None = None, dense: nn.Module | None = None
    ) -> Scores:
        """One forward pass and ``1 + probes`` backward passes over the calibration images."""
        teacher = (dense or model) if self.slope == "teacher" and keep is not None else None
        estimate = curvature(model, layout, splits.calibration, self.loss, self.batch, keep, self.probes, seed, teacher)
        gone = np.zeros(layout.n) if keep is None else (~keep).astype(np.float64)
        pairs = self._pairs(estimate, layout)
        flat = self.slope == "none" or (self.slope == "teacher" and teacher is None)
        slope = np.zeros(layout.n) if flat else estimate.gradient
        linear = Quadratic(slope, estimate.factor, estimate.dead).linear(gone, pairs)
        ties = tie_breaks(weight_norms(model, layout), TIE * np.abs(linear).mean())
        return Scores(np.where(estimate.dead, ties, linear), pairs, estimate.dead)

    def _pairs(self, estimate: Curvature, layout: Layout) -> Pairs:
        """The couplings within reach, shrunk."""
        share = estimate.agreement() if self.shrink == -1 else 1 - self.shrink
        if self.reach == "none" or share == 0:
            return Pairs.none()
        factor: Floats = estimate.factor * np.sqrt(share)
        if self.reach == "network":
            return Pairs(factor=factor)
        return Pairs(tuple(part @ part.T for part in layout.split(factor.T).values()))
