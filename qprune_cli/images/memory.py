"""Images that are in memory already, such as those that ``prune`` is given: how they are split and drawn."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qprune_cli.errors import UserError
from qprune_cli.images.crops import random_place, turned
from qprune_cli.types import Floats, ImageSet, Ints, Pair, Splits

LEAST = 4  # images: two to score on, one to refine on, one to test on


@dataclass(frozen=True)
class MemoryCrops:
    """Random training crops, cut from pairs of noisy and clean images in memory."""

    images: ImageSet

    def check(self, size: int) -> None:
        """Refuse crops of ``size`` x ``size`` pixels that are larger than an image.

        Raises:
            UserError: it names the first image that is too small.
        """
        for name, noisy, _ in self.images.pairs:
            if min(noisy.shape[-2:]) < size:
                raise UserError(f"image '{name}': smaller than a crop of {size}; ask for smaller crops")

    def draw(self, rng: np.random.Generator, count: int, size: int) -> ImageSet:
        """Cut ``count`` random crops of ``size`` x ``size`` pixels, turned and mirrored at random."""
        crops = []
        for _ in range(count):
            name, noisy, clean = self.images.pairs[int(rng.integers(len(self.images)))]
            window, turns, mirror = random_place(noisy.shape, size, rng), int(rng.integers(4)), bool(rng.integers(2))
            crops.append(Pair(name, *(turned(picture[:, *window], turns, mirror) for picture in (noisy, clean))))
        return ImageSet(tuple(crops))


@dataclass(frozen=True)
class MemoryImages:
    """Training images in memory, whole, with their labels."""

    images: ImageSet

    def check(self, size: int) -> None:
        """Accept every size: images are drawn whole, nothing is cut."""

    def draw(self, rng: np.random.Generator, count: int, size: int) -> ImageSet:
        """Draw ``count`` random images whole, with replacement; ``size`` plays no part."""
        return ImageSet(tuple(self.images.pairs[k] for k in rng.integers(len(self.images), size=count)))


def split_pairs(pairs: Iterable[tuple[Any, Any]], seed: int) -> Splits:
    """Split images: half to score on (and to train on), a quarter each to refine on and to test on.

    Args:
        pairs: noisy and clean, each (C, H, W) or a stack (N, C, H, W), with values in [0, 1]; for classifiers an image and its label, or
            a stack and (N,) labels, whole numbers from 0. Tensors or arrays.
        seed: shuffles the images.

    Raises:
        UserError: fewer than 4 images, one that is no image, a label that is none, or images with labels among others.
    """
    images = list(_pairs(pairs))
    if len(labelled := {np.ndim(pair.target) == 0 for pair in images}) > 1:
        raise UserError("data: some images have labels and some have clean images; give one kind")
    if len(images) < LEAST:
        raise UserError(f"data: {len(images)} images; give at least {LEAST}, to score, refine and test on different ones")
    order = np.random.default_rng(seed).permutation(len(images))
    stops = len(images) // 2, len(images) - max(len(images) // 4, 1)
    scored, refined, tested = (ImageSet(tuple(images[k] for k in part)) for part in np.split(order, stops))
    if True in labelled:
        return Splits(MemoryImages(scored), scored, refined, tested, "classify")
    return Splits(MemoryCrops(scored), scored, refined, tested)


def _pairs(pairs: Iterable[tuple[Any, Any]]) -> Iterator[Pair]:
    """Check the pairs, cut stacks into single images, and number them."""
    number = 0
    for entry in pairs:
        if not isinstance(entry, tuple | list) or len(entry) != 2:
            raise UserError(f"data: give pairs of a noisy and a clean image, or of an image and its label, not {type(entry).__name__}")
        image, target = (np.asarray(part.detach().cpu() if hasattr(part, "detach") else part) for part in entry)
        images, targets = _image_stacks(image, target) if target.ndim < 2 else _denoise_stacks(image, target)
        for one, other in zip(images, targets, strict=True):
            yield Pair(f"{number}", _checked(number, one), other if target.ndim < 2 else _checked(number, other))
            number += 1


def _denoise_stacks(noisy: NDArray[Any], clean: NDArray[Any]) -> tuple[Floats, Floats]:
    """Noisy and clean images as two stacks (N, C, H, W)."""
    if noisy.shape != clean.shape or noisy.ndim not in (3, 4):
        raise UserError(f"data: a pair has shapes {noisy.shape} and {clean.shape}; give (C, H, W) or (N, C, H, W), the same twice")
    return _stacked(noisy), _stacked(clean)


def _image_stacks(image: NDArray[Any], labels: NDArray[Any]) -> tuple[Floats, Ints]:
    """Images as a stack (N, C, H, W), and their (N,) labels."""
    if image.ndim != labels.ndim + 3 or image.shape[:-3] != labels.shape:
        raise UserError(f"data: images {image.shape} have labels {labels.shape}; give (C, H, W) and one label, or (N, C, H, W) and (N,)")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min(initial=0) < 0:
        raise UserError(f"data: labels of type {labels.dtype} from {labels.min(initial=0)}; give whole numbers from 0")
    return _stacked(image), labels.reshape(-1).astype(np.int64)


def _stacked(image: NDArray[Any]) -> Floats:
    """(C, H, W) or (N, C, H, W) as (N, C, H, W) float32."""
    if image.shape[-1] in (1, 3) and image.shape[-3] not in (1, 3):
        raise UserError(f"data: a pair has shape {image.shape}, which looks like (H, W, C); give (C, H, W)")
    stack: Floats = image.astype(np.float32).reshape(-1, *image.shape[-3:])
    return stack


def _checked(number: int, image: Floats) -> Floats:
    """The image itself, unless its values cannot be those of an image in [0, 1]."""
    if not np.isfinite(image).all():
        raise UserError(f"data: image {number} holds values that are not finite")
    if image.min() < -1 or image.max() > 2:
        raise UserError(f"data: image {number} has values from {image.min():g} to {image.max():g}; give images in [0, 1]")
    return image
