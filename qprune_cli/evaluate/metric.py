"""The metric that refiners tune: PSNR of masks, image by image."""

import numpy as np
from torch import nn

from qprune_cli.evaluate.quality import outputs, psnr
from qprune_cli.scores import Quadratic
from qprune_cli.structure.curvature import curvature
from qprune_cli.structure.silence import silence
from qprune_cli.types import Bools, Floats, ImageSet, Ints, Layout

BATCH = 8  # images in a pass that takes gradients


class MaskPsnr:
    """PSNR of the masks of a network on fixed images (see ``search.metric.Metric``).

    Args:
        model: the network.
        layout: its filters.
        shown: the images.
        teacher: whose outputs the slope looks at rather than the clean images (see ``TAUGHT``); None for the slope of the loss itself.
    """

    def __init__(self, model: nn.Module, layout: Layout, shown: ImageSet, teacher: nn.Module | None = None) -> None:
        self.model, self.layout, self.shown, self.teacher = model, layout, shown, teacher

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(self.shown)

    def measure(self, keep: Bools, images: Ints, near: Bools) -> Floats:
        """(b, n) masks -> (b, k) PSNR in dB of k of the images."""
        chosen = self._chosen(images)
        found = np.empty((len(keep), len(images)))
        for place, mask in enumerate(keep):
            with silence(self.model, self.layout, mask):
                results = zip(outputs(self.model, chosen, "refine"), chosen.pairs, strict=True)
                found[place] = [psnr(result, pair.clean) for result, pair in results]
        return found

    def quadratic(self, keep: Bools, images: Ints, probes: int, seed: int) -> Quadratic:
        """The loss to second order around an (n,) mask, over some of the images."""
        seen = curvature(self.model, self.layout, self._chosen(images), "psnr", BATCH, keep, probes, seed, self.teacher)
        return Quadratic(seen.gradient, seen.factor, seen.dead)

    def _chosen(self, images: Ints) -> ImageSet:
        return ImageSet(tuple(self.shown.pairs[int(k)] for k in images))
