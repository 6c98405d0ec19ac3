"""The metric that refiners tune: the merit of masks, image by image."""

from collections.abc import Callable, Mapping

import numpy as np
from torch import nn

from qprune_cli.calibration.curvature import curvature
from qprune_cli.evaluate.task import Task
from qprune_cli.replay.gated import Weights
from qprune_cli.replay.incumbent import IncumbentCache
from qprune_cli.scores import Quadratic
from qprune_cli.types import Bools, Floats, ImageSet, Ints, Layout, Measure

GRADIENT_BATCH = 8  # images in a pass that takes gradients
BATCH = 8  # images in a pass that does not, at most
PIXELS = 2**15  # in all images of such a pass; activations of more leave a CPU's caches


def batch_size(images: ImageSet) -> int:
    """Images in a pass: a power of two, so that passes over some of the images are passes over more of them as well."""
    pixels = images.pairs[0].input[0].size
    return int(2 ** min(np.log2(BATCH), max(0, np.log2(PIXELS / pixels) // 1)))


class MaskMetric:
    """Merit of the masks of a network on fixed images (see ``search.metric.Metric``), such as their PSNR.

    Args:
        task: what the network is for.
        model: the network.
        layout: its filters.
        image_set: the images, with their targets.
        teacher: network whose outputs the slope looks at rather than the targets (see ``TEACHER_LOSSES``); None for the slope of the
            loss itself.
        refit: (n,) mask -> weights and biases of the convolutions that differ from those of the network at it, by name.
    """

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        layout: Layout,
        image_set: ImageSet,
        teacher: nn.Module | None = None,
        refit: Callable[[Bools], Mapping[str, Weights]] = lambda keep: {},
    ) -> None:
        self.task, self.model, self.layout, self.image_set, self.teacher = task, model, layout, image_set, teacher
        self.refit = refit
        self.cache = IncumbentCache(model, layout)

    @property
    def merit(self) -> Measure:
        """The measure whose values are given, higher is better."""
        return self.task.merit

    @property
    def images(self) -> int:
        """Number of images that masks are measured on."""
        return len(self.image_set)

    def measure(self, keep: Bools, images: Ints, near: Bools) -> Floats:
        """(b, n) masks -> (b, k) merit on k of the images; ``near`` is an (n,) mask that they differ little from."""
        merits = np.empty((len(keep), len(images)))
        for group in self.cache.grouped(keep, near):
            self.cache.prepare(keep[group], near)
            refitted, stop = [self.refit(keep[row]) for row in group], 0
            for inputs, targets in self._chosen(images).batches(batch_size(self.image_set)):
                start, stop = stop, stop + len(inputs)
                replay = self.cache.replay(tuple(images[start:stop].tolist()), inputs)
                for row, weights in zip(group, refitted, strict=True):
                    merits[row, start:stop] = self.task.merits(replay.at(keep[row], weights).cpu().numpy(), targets)
        return merits

    def quadratic(self, keep: Bools, images: Ints, probes: int, seed: int) -> Quadratic:
        """The loss to second order around an (n,) mask, over k of the images; ``seed`` draws the ``probes`` of each image."""
        chosen, loss = self._chosen(images), self.task.loss
        estimate = curvature(self.model, self.layout, chosen, loss, GRADIENT_BATCH, keep, probes, seed, self.teacher)
        return Quadratic(estimate.gradient, estimate.factor, estimate.dead)

    def _chosen(self, images: Ints) -> ImageSet:
        return ImageSet(tuple(self.image_set.pairs[int(k)] for k in images))
