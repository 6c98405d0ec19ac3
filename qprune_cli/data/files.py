"""Pairs of image files: how they are read, split and cut into the four parts of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qprune_cli.data.cache import PatchCache, Patches
from qprune_cli.data.crops import blocks
from qprune_cli.data.image import decode, read_bytes, to_floats
from qprune_cli.errors import UserError
from qprune_cli.types import SSIM_WINDOW, ImageSet, Pair, Splits

PARTS = ("train", "calibration", "refinement", "test")


@dataclass(frozen=True)
class PairFiles:
    """The files of one pair."""

    name: str
    noisy: Path
    clean: Path

    def contents(self) -> tuple[bytes, bytes]:
        """All bytes of both files."""
        return read_bytes(self.noisy), read_bytes(self.clean)

    def decode(self, contents: tuple[bytes, bytes], channels: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Decode both files, each to (C, H, W) in its own type.

        Raises:
            UserError: damaged, of another number of channels, or of different sizes.
        """
        noisy, clean = decode(self.noisy, contents[0], channels), decode(self.clean, contents[1], channels)
        if noisy.shape != clean.shape:
            sizes = [f"{picture.shape[2]} x {picture.shape[1]}" for picture in (noisy, clean)]
            raise UserError(f"{self.noisy}: {sizes[0]} pixels, but its clean image {self.clean.name} has {sizes[1]}; pairs must match")
        return noisy, clean

    def blocks(self, channels: int, size: int, most: int) -> list[Pair]:
        """Read both files and cut them into at most so many blocks of a side."""
        noisy, clean = self.decode(self.contents(), channels)
        places = list(blocks(noisy.shape, size, most))
        names = [self.name] if len(places) == 1 else [f"{self.name}_{k}" for k in range(len(places))]
        return [Pair(name, to_floats(noisy[:, y, x]), to_floats(clean[:, y, x])) for name, (y, x) in zip(names, places, strict=True)]


class Cutting(Protocol):
    """Settings that every data set of image files has."""

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


def check_cutting(data: Cutting, whole_test: bool) -> None:
    """Refuse settings out of range.

    Args:
        data: the settings.
        whole_test: whether the test images come from elsewhere, so that the last share is not used.
    """
    for name in ("crops", "crop_size", "block_size", "blocks_per_image", "patch", "patches_per_image"):
        if getattr(data, name) < 1:
            raise UserError(f"data.{name}={getattr(data, name)}: give a whole number, at least 1")
    if data.block_size < SSIM_WINDOW:
        raise UserError(f"data.block_size={data.block_size}: give at least {SSIM_WINDOW} pixels, SSIM looks through a window of that side")
    if data.crop_size > data.patch:
        raise UserError(
            f"data.crop_size={data.crop_size}: crops are cut from patches of data.patch={data.patch} pixels; ask for smaller ones"
        )
    if data.seed < 0:
        raise UserError(f"data.seed={data.seed}: give a whole number, at least 0")
    if len(data.shares) != len(PARTS) or min(data.shares) < 0 or abs(sum(data.shares) - 1) > 1e-6:
        raise UserError(f"data.shares={list(data.shares)}: give four shares that add up to 1, for {', '.join(PARTS)}")
    if whole_test and not sum(data.shares[:3]):
        raise UserError(f"data.shares={list(data.shares)}: test images come from elsewhere; share data.root among {', '.join(PARTS[:3])}")


def shared(count: int, shares: Sequence[float], seed: int, whole_test: bool, what: str) -> list[list[int]]:
    """Split 0..count-1 into the four parts.

    Args:
        count: number of things.
        shares: of the parts.
        seed: shuffles before splitting.
        whole_test: leave the last part empty and share everything among the first three.
        what: the things, for messages.

    Raises:
        UserError: a part that is needed would be empty.
    """
    weights = np.array([*shares[:3], 0.0]) / sum(shares[:3]) if whole_test else np.array(shares)
    stops = np.round(np.cumsum(weights) * count).astype(int)
    order = np.random.default_rng([0, seed]).permutation(count)
    parts = [sorted(part.tolist()) for part in np.split(order, stops[:3])]
    for name in PARTS[1:3] if whole_test else PARTS[1:]:
        if not parts[PARTS.index(name)]:
            raise UserError(f"data: {count} {what} leave none for {name}; give more or other data.shares")
    return parts


def cut(data: Cutting, parts: Sequence[Sequence[PairFiles]], test: ImageSet | None, seed: int) -> Splits:
    """Cut files into the four parts; every file is read, so that what is wrong with one shows before anything starts.

    Args:
        data: the settings.
        parts: files for training, calibration, refinement and test.
        test: test images from elsewhere; None cuts them from the last part.
        seed: draws the calibration crops.

    Raises:
        UserError: a damaged image, one smaller than the crops, no space for the patches.
    """
    cache = PatchCache.at(data.cache, data.patch, data.patches_per_image)
    train, calibration, refinement = (Patches(cache.entries(part, data.channels)) for part in parts[:3])
    for patches in (calibration, refinement):
        patches.check(data.crop_size)
    pairs = [block for files in parts[3] for block in files.blocks(data.channels, data.block_size, data.blocks_per_image)]
    return Splits(
        train=train,
        calibration=calibration.draw(np.random.default_rng([1, seed]), data.crops, data.crop_size),
        refinement=refinement.draw(np.random.default_rng([2, data.seed]), data.crops, data.crop_size),
        test=test or ImageSet(tuple(pairs)),
    )
