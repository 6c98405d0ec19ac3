"""Reconstruction error: what the next layers miss of a filter, after the best compensation by the others of its layer."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from qprune_cli.calibration.checks import check_count
from qprune_cli.calibration.dead import linear_scores
from qprune_cli.calibration.residual import activation_products, readers_error, residual_maps
from qprune_cli.errors import UserError
from qprune_cli.scores import Scores
from qprune_cli.types import Bools, Layout, Splits


@dataclass(frozen=True)
class Reconstruction:
    r"""The error in the outputs of the layers that read a filter, after the survivors have taken over what they can.

    1. Within each layer the activation of filter i is fitted by those of the other live filters, over all calibration images
       and positions: ``delta_i = a_i - sum_j c_ij a_j``, by ridge regression in closed form.
    2. ``score_i = mean_s ||J delta_i||^2``: what ``delta_i`` does to the outputs of the layers that read the filter, and to
       that of the network where it is read directly, as a share of their energy, summed over the readers. Random probes
       estimate it (see ``Readers``), without bias.

    No loss is looked at. At a mask the survivors are the filters that are kept; a dropped filter is scored by what the readers
    miss without it. Where several filters live and die together, each layer compensates its own. Dead filters go first.

    Args:
        ridge: strength of the ridge, relative to the mean square of the activations of the layer.
        probes: random probes for every image; more make the estimate steadier.
        batch: images per pass.

    References:
        He, Zhang, Sun, "Channel pruning for accelerating very deep neural networks", ICCV 2017, arXiv:1707.06168 (the aim);
        Luo, Wu, Lin, "ThiNet", ICCV 2017, arXiv:1707.06342.
    """

    ridge: float = 1e-3
    probes: int = 2
    batch: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.ridge < np.inf:
            raise UserError(f"scorer.ridge={self.ridge}: give the strength of the ridge, above 0")
        check_count("probes", self.probes)
        check_count("batch", self.batch)

    def score(
        self, model: nn.Module, layout: Layout, splits: Splits, seed: int, keep: Bools | None = None, dense: nn.Module | None = None
    ) -> Scores:
        """One forward pass over the calibration images for the fit, one forward and several backward passes for the error."""
        images = splits.calibration
        products = activation_products(model, layout, images, self.batch, keep)
        residual = residual_maps(layout, products, self.ridge, keep)
        generator = torch.Generator().manual_seed(seed)
        linear = readers_error(model, layout, images, residual, self.batch, self.probes, generator, keep)
        dead = np.concatenate(
            [np.all([np.diagonal(products[m.gate])[list(m.filters)] == 0 for m in g.members], axis=0) for g in layout.groups]
        )
        return linear_scores(model, layout, linear, dead)
