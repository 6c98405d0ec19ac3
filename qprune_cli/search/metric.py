"""What refiners ask of the network: the true merit of masks, and the loss to second order near one. NumPy only; torch stays behind it."""

from typing import Protocol

from qprune_cli.scores import Quadratic
from qprune_cli.types import Bools, Floats, Ints, Measure


class Metric(Protocol):
    """The true metric of masks on a fixed set of images, image by image; higher merit is better."""

    @property
    def merit(self) -> Measure:
        """The measure of quality, such as PSNR in dB."""

    @property
    def images(self) -> int:
        """Number of images; they are numbered from 0."""

    def measure(self, keep: Bools, images: Ints, near: Bools) -> Floats:
        """Merit of masks on some of the images.

        Args:
            keep: (b, n) masks.
            images: (k,) numbers of the images.
            near: (n,) a mask that they differ little from, so that what they share with it is computed once; it changes no result.

        Returns:
            (b, k) merit of every mask on every image.
        """

    def quadratic(self, keep: Bools, images: Ints, probes: int, seed: int) -> Quadratic:
        """The loss to second order around an (n,) mask, over some of the images.

        Args:
            keep: the mask.
            images: (k,) numbers of the images.
            probes: random backward passes per image that sample the curvature.
            seed: draws these passes.
        """
