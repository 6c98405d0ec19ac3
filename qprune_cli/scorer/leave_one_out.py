"""The exact score: the network is measured without every single filter."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn
from tqdm import tqdm

from qprune_cli.calibration.batches import on_device
from qprune_cli.calibration.checks import check_count, check_pass
from qprune_cli.calibration.dead import linear_scores
from qprune_cli.calibration.loss import losses_of
from qprune_cli.calibration.samples import centre_crops
from qprune_cli.replay.gated import GatedNetwork
from qprune_cli.replay.replay import Replay
from qprune_cli.scores import Scores
from qprune_cli.types import Bools, Layout, Splits


@dataclass(frozen=True)
class LeaveOneOut:
    """The exact rise of the calibration loss when a filter alone goes; for a dropped one the exact fall when it comes back.

    ``score_i = L(keep without i) - L(keep with i)``, L the mean over the images of the per-image loss. One forward pass for
    every filter, of what lies behind its gate alone: what lies before is computed once. It may be negative: the network is better
    without the filter. Filters that are 0 on these images go first, those with the smaller weights before the others.

    Args:
        images: calibration images to look at, spread evenly over all; as many as there are, if those are fewer.
        patch: side in pixels of the centre that is cut out of every picture; smaller ones stay whole, as do inputs with labels.
        loss: per-image loss: psnr, mse, l1, or cross_entropy for classifiers.
        batch: images per pass; more need more memory.
    """

    images: int = 8
    patch: int = 48
    loss: str = "psnr"
    batch: int = 8

    def __post_init__(self) -> None:
        check_count("images", self.images)
        check_count("patch", self.patch)
        check_pass(self.loss, self.batch)

    def score(
        self, model: nn.Module, layout: Layout, splits: Splits, seed: int, keep: Bools | None = None, dense: nn.Module | None = None
    ) -> Scores:
        """One forward pass for every filter."""
        mask = np.ones(layout.n, bool) if keep is None else keep
        samples = centre_crops(splits.calibration, self.images, self.patch)
        rises, dead = np.zeros(layout.n), np.ones(layout.n, bool)
        network = GatedNetwork.of_dense(model, layout)
        with tqdm(total=layout.n * len(samples), desc="score", unit="filter", leave=False, disable=None) as bar:
            for batch in samples.batches(self.batch):
                inputs, targets = on_device(model, *batch)
                replay = Replay(network, mask, inputs)
                base = self._total(replay.network_output, targets)
                silent = replay.dead()  # these change nothing
                bar.update(int(silent.sum()) * len(inputs))
                for i in np.flatnonzero(~silent).tolist():
                    rises[i] += (self._total(replay.flipped(i), targets) - base) * (1 if mask[i] else -1)
                    bar.update(len(inputs))
                dead &= silent
        return linear_scores(model, layout, rises / len(samples), dead)

    def _total(self, output: Tensor, target: Tensor) -> float:
        """Sum of the losses of a batch."""
        return float(losses_of(self.loss, output, target).double().sum())
