"""Images that are in memory already."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from qprune_cli.data.crops import random_place, turned
from qprune_cli.errors import UserError
from qprune_cli.types import Floats, ImageSet, Pair, Splits

LEAST = 4  # images: two to score on, one to refine on, one to test on


@dataclass(frozen=True)
class MemoryCrops:
    """Training crops cut from pairs in memory."""

    images: ImageSet

    def check(self, size: int) -> None:
        """Refuse crops that are larger than an image."""
        for name, noisy, _ in self.images.pairs:
            if min(noisy.shape[-2:]) < size:
                raise UserError(f"image '{name}': smaller than a crop of {size}; ask for smaller crops")

    def draw(self, rng: np.random.Generator, count: int, size: int) -> ImageSet:
        """Cut random crops, turned and mirrored at random."""
        crops = []
        for _ in range(count):
            name, noisy, clean = self.images.pairs[int(rng.integers(len(self.images)))]
            place, turns, mirror = random_place(noisy.shape, size, rng), int(rng.integers(4)), bool(rng.integers(2))
            crops.append(Pair(name, *(turned(picture[:, *place], turns, mirror) for picture in (noisy, clean))))
        return ImageSet(tuple(crops))


def split_pairs(pairs: Iterable[tuple[Any, Any]], seed: int) -> Splits:
    """Split images: half to score on (and to train on), a quarter each to refine on and to test on.

    Args:
        pairs: noisy and clean, each (C, H, W) or a stack (N, C, H, W), with values in [0, 1]; tensors or arrays.
        seed: shuffles the images.

    Raises:
        UserError: fewer than 4 images, or one that is no image.
    """
    images = list(_pairs(pairs))
    if len(images) < LEAST:
        raise UserError(f"data: {len(images)} images; give at least {LEAST}, to score, refine and test on different ones")
    order = np.random.default_rng(seed).permutation(len(images))
    stops = len(images) // 2, len(images) - max(len(images) // 4, 1)
    scored, refined, tested = (ImageSet(tuple(images[k] for k in part)) for part in np.split(order, stops))
    return Splits(MemoryCrops(scored), scored, refined, tested)


def _pairs(pairs: Iterable[tuple[Any, Any]]) -> Iterator[Pair]:
    count = 0
    for entry in pairs:
        if not isinstance(entry, tuple | list) or len(entry) != 2:
            raise UserError(f"data: give pairs of a noisy and a clean image, not {type(entry).__name__}")
        noisy, clean = (np.asarray(image.detach().cpu() if hasattr(image, "detach") else image, np.float32) for image in entry)
        if noisy.shape != clean.shape or noisy.ndim not in (3, 4):
            raise UserError(f"data: a pair has shapes {noisy.shape} and {clean.shape}; give (C, H, W) or (N, C, H, W), the same twice")
        if noisy.shape[-1] in (1, 3) and noisy.shape[-3] not in (1, 3):
            raise UserError(f"data: a pair has shape {noisy.shape}, which looks like (H, W, C); give (C, H, W)")
        for one, other in zip(*(image.reshape(-1, *image.shape[-3:]) for image in (noisy, clean)), strict=True):
            yield Pair(f"{count}", *(_checked(count, image) for image in (one, other)))
            count += 1


def _checked(count: int, image: Floats) -> Floats:
    if not np.isfinite(image).all():
        raise UserError(f"data: image {count} holds values that are not finite")
    if image.min() < -1 or image.max() > 2:
        raise UserError(f"data: image {count} has values from {image.min():g} to {image.max():g}; give images in [0, 1]")
    return image
