"""Images with labels: kept in memory as they were stored, made floats when asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from qprune_cli.images.image import to_floats
from qprune_cli.images.resize import resized
from qprune_cli.types import ImageSet, Ints, Pair

SHIFT = 4  # pixels that an augmented image is moved by, at most
CHUNK = 512  # images that are made floats at once


@dataclass(frozen=True)
class Labelled:
    """All images of a file with their labels, stored as they were read.

    Args:
        images: (N, C, H, W) uint8, or float32 in [0, 1].
        labels: (N,) int64, classes from 0.
        file: what the names of the images begin with, such as ``train``.

    Example:
        >>> two = Labelled(np.full((2, 1, 8, 8), 255, np.uint8), np.array([3, 7]), "train")
        >>> name, image, label = two.pairs(np.array([1]))[0]
        >>> name, image.shape, float(image.max()), label
        ('train_00001', (1, 8, 8), 1.0, array(7))
    """

    images: NDArray[Any]
    labels: NDArray[np.int64]
    file: str

    def __len__(self) -> int:
        return len(self.labels)

    def sized(self, side: int) -> "Labelled":
        """The same images resized bilinearly to (N, C, side, side); images of that side stay as they are."""
        return self if self.images.shape[-2:] == (side, side) else replace(self, images=resized(self.images, side))

    def pairs(self, index: Ints) -> tuple[Pair, ...]:
        """The images ``index`` (n,) as pairs: float32 in [0, 1] of shape (C, H, W), and the label as a 0-d array."""
        return self.named(index, to_floats(self.images[index]))

    def named(self, index: Ints, images: NDArray[Any]) -> tuple[Pair, ...]:
        """Other pictures (n, C, H, W) in place of the images ``index`` (n,), with the names and labels of these."""
        labels = (np.asarray(label) for label in self.labels[index])
        return tuple(Pair(f"{self.file}_{k:05d}", *both) for k, *both in zip(index.tolist(), images, labels, strict=True))


@dataclass(frozen=True)
class LabelledPairs(Sequence[Pair]):
    """Some of the images as pairs, made when asked for.

    Args:
        source: where the images are.
        chosen: (n,) which of them.
    """

    source: Labelled
    chosen: Ints

    def __len__(self) -> int:
        return len(self.chosen)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Pair, ...]: ...
    def __getitem__(self, index: int | slice) -> Pair | tuple[Pair, ...]:
        if isinstance(index, slice):
            return self.source.pairs(self.chosen[index])
        return self.source.pairs(self.chosen[[index]])[0]

    def __iter__(self) -> Iterator[Pair]:
        for start in range(0, len(self), CHUNK):
            yield from self[start : start + CHUNK]


@dataclass(frozen=True)
class LabelledDraws:
    """Random training images with their labels, each drawn equally often.

    Args:
        source: where the images are.
        chosen: (n,) those to draw from.
        augment: mirror at random, and move by up to 4 pixels in both directions over black.
    """

    source: Labelled
    chosen: Ints
    augment: bool = False

    def check(self, size: int) -> None:
        """Do nothing: images are taken whole, so ``size`` plays no part."""

    def draw(self, rng: np.random.Generator, count: int, size: int) -> ImageSet:
        """Draw ``count`` images, with replacement; they are taken whole, so ``size`` plays no part."""
        index = self.chosen[rng.integers(len(self.chosen), size=count)]
        images = self.source.images[index]
        return ImageSet(self.source.named(index, to_floats(moved(images, rng) if self.augment else images)))


def moved(images: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Mirror and shift (n, C, H, W) images at random, every image differently; what a shift uncovers is black."""
    height, width = images.shape[-2:]
    padded = np.pad(images, ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    mirrored = rng.integers(2, size=len(images), dtype=bool)
    padded[mirrored] = padded[mirrored, ..., ::-1]
    corners = rng.integers(2 * SHIFT + 1, size=(len(images), 2)).tolist()
    return np.stack([image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, corners, strict=True)])
