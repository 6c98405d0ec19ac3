"""Weight magnitude: the mean absolute weight of each filter."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from qprune_cli.calibration.redundancy import cosine, redundancy_pairs
from qprune_cli.calibration.weights import weight_norms, weight_products
from qprune_cli.errors import UserError
from qprune_cli.scores import Scores
from qprune_cli.types import Bools, Layout, Splits


@dataclass(frozen=True)
class L1:
    """Mean absolute weight of each filter; with ``beta`` > 0 also the cosine of the kernels as redundancy.

    The pairs couple filters of a layer whose kernels point the same way, so that not both go cheaply; negative cosines
    count as 0 and the scale is that of the magnitudes (see ``redundancy_pairs``). Looks at no image.

    Args:
        beta: weight of the pairs; 0 leaves them out.

    References:
        Li et al., "Pruning filters for efficient ConvNets", ICLR 2017, arXiv:1608.08710 (the linear term).
    """

    beta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.beta < np.inf:
            raise UserError(f"scorer.beta={self.beta}: give the weight of the pairs, at least 0")

    def score(
        self, model: nn.Module, layout: Layout, splits: Splits, seed: int, keep: Bools | None = None, dense: nn.Module | None = None
    ) -> Scores:
        """Read the weights; the mask does not matter."""
        norms = weight_norms(model, layout)
        similar = [cosine(products) for products in weight_products(model, layout)]
        return Scores(norms, redundancy_pairs(layout, similar, norms, self.beta))
