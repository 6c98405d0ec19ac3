"""Pairs of image files: how they are read, split and cut into the four parts of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from qprune_cli.errors import UserError
from qprune_cli.images.cache import PatchCache, Patches
from qprune_cli.images.crops import blocks
from qprune_cli.images.image import decode, read_bytes, to_floats
from qprune_cli.types import SSIM_WINDOW, ImageSet, Pair, Splits

T = TypeVar("T")
PARTS = ("train", "calibration", "refinement", "test")


@dataclass(frozen=True)
class PairFiles:
    """The two files of a pair of images, and how they are read.

    Attributes:
        name: of the pair.
        noisy: the file with the noisy image.
        clean: the file with the clean image.
    """

    name: str
    noisy: Path
    clean: Path

    def contents(self) -> tuple[bytes, bytes]:
        """Read all bytes of the noisy and of the clean file.

        Raises:
            UserError: one of them cannot be read.
        """
        return read_bytes(self.noisy), read_bytes(self.clean)

    def decode(self, contents: tuple[bytes, bytes], channels: int | None) -> tuple[NDArray[Any], NDArray[Any]]:
        """Decode both files, each to (C, H, W) in the type that it stores.

        Raises:
            UserError: damaged, of another number of channels, or of different sizes.
        """
        noisy, clean = decode(self.noisy, contents[0], channels), decode(self.clean, contents[1], channels)
        if noisy.shape != clean.shape:
            sizes = [f"{picture.shape[2]} x {picture.shape[1]}" for picture in (noisy, clean)]
            raise UserError(f"{self.noisy}: {sizes[0]} pixels, but its clean image {self.clean.name} has {sizes[1]}; pairs must match")
        return noisy, clean

    def blocks(self, channels: int, size: int, most: int) -> list[Pair]:
        """Read both files and cut them into at most ``most`` pairs of blocks, each (C, size, size) float32 in [0, 1]."""
        noisy, clean = self.decode(self.contents(), channels)
        places = list(blocks(noisy.shape, size, most))
        names = [self.name] if len(places) == 1 else [f"{self.name}_{k}" for k in range(len(places))]
        return [Pair(name, to_floats(noisy[:, y, x]), to_floats(clean[:, y, x])) for name, (y, x) in zip(names, places, strict=True)]


@dataclass(frozen=True)
class Cutting:
    """Settings that every data set of image files has; see ``PairedFolders`` for their meaning.

    Raises:
        UserError: a value is out of range.
    """

    channels: int
    seed: int
    shares: tuple[float, float, float, float]
    crops: int
    crop_size: int
    block_size: int
    blocks_per_image: int
    patch: int
    patches_per_image: int
    cache: str | None

    @staticmethod
    def of(data: object) -> "Cutting":
        """Take the settings from the attributes of a data set, and check them."""
        return Cutting(**{field.name: getattr(data, field.name) for field in fields(Cutting)})

    def __post_init__(self) -> None:
        for name in ("crops", "crop_size", "block_size", "blocks_per_image", "patch", "patches_per_image"):
            if getattr(self, name) < 1:
                raise UserError(f"data.{name}={getattr(self, name)}: give a whole number, at least 1")
        if self.block_size < SSIM_WINDOW:
            raise UserError(
                f"data.block_size={self.block_size}: give at least {SSIM_WINDOW} pixels, SSIM looks through a window of that side"
            )
        if self.crop_size > self.patch:
            raise UserError(
                f"data.crop_size={self.crop_size}: crops are cut from patches of data.patch={self.patch} pixels; ask for smaller ones"
            )
        if self.seed < 0:
            raise UserError(f"data.seed={self.seed}: give a whole number, at least 0")
        if len(self.shares) != len(PARTS) or min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise UserError(f"data.shares={list(self.shares)}: give four shares that add up to 1, for {', '.join(PARTS)}")

    def shared(self, items: Sequence[T], test_elsewhere: bool, what: str, needed: Sequence[str] = PARTS[1:]) -> list[list[T]]:
        """Split images or scenes into the four parts, shuffled by the seed.

        Args:
            items: the images or scenes.
            test_elsewhere: whether test images come from elsewhere: then the last part stays empty, the first three share everything.
            what: plural noun for the items, for messages.
            needed: parts that must not be empty.

        Raises:
            UserError: a part that is needed would be empty.
        """
        if test_elsewhere and not sum(self.shares[:3]):
            raise UserError(
                f"data.shares={list(self.shares)}: test images come from elsewhere; share data.root among {', '.join(PARTS[:3])}"
            )
        weights = np.array([*self.shares[:3], 0.0]) / sum(self.shares[:3]) if test_elsewhere else np.array(self.shares)
        stops = np.round(np.cumsum(weights) * len(items)).astype(int)
        order = np.random.default_rng([0, self.seed]).permutation(len(items))
        parts = [[items[k] for k in sorted(part)] for part in np.split(order, stops[:3])]
        for name in (part for part in needed if not (test_elsewhere and part == "test")):
            if not parts[PARTS.index(name)]:
                raise UserError(f"data.root: {len(items)} {what} leave none for {name}; give more or other data.shares")
        return parts

    def cut(self, parts: Sequence[Sequence[PairFiles]], test: ImageSet | None, seed: int) -> Splits:
        """Cut files into the four parts; every file is read, so that what is wrong with one shows before anything starts.

        Args:
            parts: files for training, calibration, refinement and test.
            test: test images from elsewhere; None cuts them from the last part.
            seed: draws the calibration crops.

        Raises:
            UserError: a damaged image, one smaller than the crops, no space for the patches.
        """
        cache = PatchCache.at(self.cache, self.patch, self.patches_per_image)
        train, calibration, refinement = (Patches(cache.entries(part, self.channels)) for part in parts[:3])
        for patches in (calibration, refinement):
            patches.check(self.crop_size)
        return Splits(
            train=train,
            calibration=calibration.draw(np.random.default_rng([1, seed]), self.crops, self.crop_size),
            refinement=refinement.draw(np.random.default_rng([2, self.seed]), self.crops, self.crop_size),
            test=test or self.test_blocks(parts[3]),
        )

    def test_blocks(self, files: Sequence[PairFiles]) -> ImageSet:
        """Cut test images into blocks of ``block_size`` x ``block_size`` pixels.

        Raises:
            UserError: a damaged image.
        """
        return ImageSet(tuple(block for pair in files for block in pair.blocks(self.channels, self.block_size, self.blocks_per_image)))
