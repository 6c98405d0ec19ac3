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

BATCH = 8  # images in a pass that takes gradients
PASS = 8  # images in one that does not, and
PIXELS = 2**15  # in all of them; activations of more leave a CPU's caches


def at_once(images: ImageSet) -> int:
    """Images in a pass: a power of two, so that passes over some of the images are passes over more of them as well."""
    pixels = images.pairs[0].input[0].size
    return int(2 ** min(np.log2(PASS), max(0, np.log2(PIXELS / pixels) // 1)))


class MaskMetric:
    """Merit of the masks of a network on fixed images (see ``search.metric.Metric``), such as their PSNR.

    Args:
        task: what the network is for.
        model: the network.
        layout: its filters.
        shown: the images.
        teacher: whose outputs the slope looks at rather than the clean images (see ``TAUGHT``); None for the slope of the loss itself.
        refit: weights and biases that convolutions have at an (n,) mask, by name; none are others than in the network.
    """

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        layout: Layout,
        shown: ImageSet,
        teacher: nn.Module | None = None,
        refit: Callable[[Bools], Mapping[str, Weights]] = lambda keep: {},
    ) -> None:
        self.task, self.model, self.layout, self.shown, self.teacher = task, model, layout, shown, teacher
        self.refit = refit
        self.remembered = IncumbentCache(model, layout)

    @property
    def merit(self) -> Measure:
        """What is measured."""
        return self.task.merit

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(self.shown)

    def measure(self, keep: Bools, images: Ints, near: Bools) -> Floats:
        """(b, n) masks -> (b, k) merit on k of the images."""
        found = np.empty((len(keep), len(images)))
        for places in self.remembered.grouped(keep, near):
            self.remembered.prepare(keep[places], near)
            others, stop = [self.refit(keep[place]) for place in places], 0
            for noisy, target in self._chosen(images).batches(at_once(self.shown)):
                start, stop = stop, stop + len(noisy)
                replay = self.remembered.replay(tuple(images[start:stop].tolist()), noisy)
                for place, weights in zip(places, others, strict=True):
                    found[place, start:stop] = self.task.merits(replay.at(keep[place], weights).cpu().numpy(), target)
        return found

    def quadratic(self, keep: Bools, images: Ints, probes: int, seed: int) -> Quadratic:
        """The loss to second order around an (n,) mask, over some of the images."""
        seen = curvature(self.model, self.layout, self._chosen(images), self.task.loss, BATCH, keep, probes, seed, self.teacher)
        return Quadratic(seen.gradient, seen.factor, seen.dead)

    def _chosen(self, images: Ints) -> ImageSet:
        return ImageSet(tuple(self.shown.pairs[int(k)] for k in images))
