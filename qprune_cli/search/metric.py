"""What a refiner knows of the network: the true quality of masks, and how it bends near one. NumPy only; torch stays behind it."""

from typing import Protocol

from qprune_cli.scores import Quadratic
from qprune_cli.types import Bools, Floats, Ints, Measure


class Metric(Protocol):
    """The true metric of masks on a fixed set of images, image by image; higher is better."""

    @property
    def merit(self) -> Measure:
        """What is measured, such as PSNR in dB."""

    @property
    def images(self) -> int:
        """How many images there are."""

    def measure(self, keep: Bools, images: Ints, near: Bools) -> Floats:
        """(b, n) masks -> (b, k) merit on k of the images.

        Args:
            keep: masks.
            images: (k,) which images.
            near: (n,) a mask that they differ little from: what they share with it is computed once. It changes no result.
        """

    def quadratic(self, keep: Bools, images: Ints, probes: int, seed: int) -> Quadratic:
        """The loss to second order around an (n,) mask, over some of the images.

        Args:
            keep: the mask.
            images: (k,) which images.
            probes: random backward passes per image that sample the curvature.
            seed: draws them.
        """
