"""Random scores: the control that every method has to beat."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from qprune_cli.scores import Pairs, Scores
from qprune_cli.types import Bools, Layout, Splits


@dataclass(frozen=True)
class Random:
    """Uniform random scores in [0, 1), drawn from ``seed``; no weight and no image is looked at."""

    def score(
        self, model: nn.Module, layout: Layout, splits: Splits, seed: int, keep: Bools | None = None, dense: nn.Module | None = None
    ) -> Scores:
        """Draw one number per filter; the mask does not matter."""
        linear = np.random.default_rng(seed).uniform(size=layout.n)
        return Scores(linear, Pairs.none())
