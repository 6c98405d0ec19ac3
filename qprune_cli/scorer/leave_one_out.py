"""The exact score: try every filter."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from qprune_cli.calibration.dead import dead_first
from qprune_cli.calibration.feed import centres
from qprune_cli.calibration.loss import check_pass, losses_of
from qprune_cli.calibration.weights import weight_norms
from qprune_cli.errors import UserError
from qprune_cli.graph.execute import precision
from qprune_cli.replay.gated import GatedNetwork
from qprune_cli.replay.replay import Replay
from qprune_cli.scores import Pairs, Scores
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
        for name in ("images", "patch"):
            if getattr(self, name) < 1:
                raise UserError(f"scorer.{name}={getattr(self, name)}: give a number, at least 1")
        check_pass(self.loss, self.batch)

    def score(
        self, model: nn.Module, layout: Layout, splits: Splits, seed: int, keep: Bools | None = None, dense: nn.Module | None = None
    ) -> Scores:
        """One forward pass for every filter."""
        mask = np.ones(layout.n, bool) if keep is None else keep
        shown = centres(splits.calibration, self.images, self.patch)
        rises, dead = np.zeros(layout.n), np.ones(layout.n, bool)
        device, dtype = next(model.parameters()).device, precision(model)
        network = GatedNetwork.of_dense(model, layout)
        with tqdm(total=layout.n * len(shown), desc="score", unit="filter", leave=False, disable=None) as bar:
            for noisy, clean in shown.batches(self.batch):
                replay = Replay(network, mask, torch.tensor(noisy, device=device, dtype=dtype))
                target = torch.from_numpy(clean).to(device)
                base = self._total(replay.answer, target)
                silent = replay.dead()  # these change nothing
                bar.update(int(silent.sum()) * len(noisy))
                for i in np.flatnonzero(~silent).tolist():
                    rises[i] += (self._total(replay.flipped(i), target) - base) * (1 if mask[i] else -1)
                    bar.update(len(noisy))
                dead &= silent
        return dead_first(Scores(rises / len(shown), Pairs.none(), dead), weight_norms(model, layout))

    def _total(self, output: Tensor, target: Tensor) -> float:
        return float(losses_of(self.loss, output, target).double().sum())
