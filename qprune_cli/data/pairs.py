"""Any noisy and clean images: two folders, or one folder with a naming pattern."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from qprune_cli.data.crops import blocks, random_place, turned
from qprune_cli.data.image import READERS, read_image
from qprune_cli.errors import UserError
from qprune_cli.types import SSIM_WINDOW, ImageSet, Pair, Splits

LOG = logging.getLogger("qprune_cli")
PARTS = ("train", "calibration", "refinement", "test")


@dataclass(frozen=True)
class PairFiles:
    """The files of one pair."""

    name: str
    noisy: Path
    clean: Path

    def read(self, channels: int) -> Pair:
        """Read both files.

        Raises:
            UserError: damaged, of another number of channels, or of different sizes.
        """
        noisy, clean = read_image(self.noisy, channels), read_image(self.clean, channels)
        if noisy.shape != clean.shape:
            sizes = [f"{picture.shape[2]} x {picture.shape[1]}" for picture in (noisy, clean)]
            raise UserError(f"{self.noisy}: {sizes[0]} pixels, but its clean image {self.clean.name} has {sizes[1]}; pairs must match")
        return Pair(self.name, noisy, clean)


@lru_cache(maxsize=4)
def _read(files: PairFiles, channels: int) -> Pair:
    """Read a pair, or take it from the latest ones read."""
    return files.read(channels)


@dataclass(frozen=True)
class PairedCrops:
    """Random crops of pairs of files; the latest files read are kept in memory.

    Args:
        files: the pairs; each is drawn equally often.
        channels: 1 for grey, 3 for colour.
    """

    files: tuple[PairFiles, ...]
    channels: int

    def check(self, size: int) -> None:
        """Read every file once, so that what is wrong with one shows before anything starts."""
        if not self.files:
            raise UserError("data: no image is left for training; give more pairs or other data.shares")
        for files in tqdm(self.files, desc="check images", unit="pair", leave=False, disable=None):
            height, width = files.read(self.channels).noisy.shape[1:]
            if min(height, width) < size:
                raise UserError(f"{files.noisy}: {width} x {height} pixels, smaller than a crop of {size}; ask for smaller crops")

    def draw(self, rng: np.random.Generator, count: int, size: int) -> ImageSet:
        """Cut ``count`` crops of ``size`` x ``size``, turned at random; pairs take turns, so that all are seen.

        Raises:
            UserError: an image is damaged or smaller than the crop.
        """
        order = np.concatenate([rng.permutation(len(self.files)) for _ in range(-(-count // len(self.files)))])[:count]
        return ImageSet(tuple(self._crop(rng, self.files[k], number, size) for number, k in enumerate(np.sort(order))))

    def _crop(self, rng: np.random.Generator, files: PairFiles, number: int, size: int) -> Pair:
        pair = _read(files, self.channels)
        y, x = random_place(pair.noisy.shape, size, rng)
        turns, mirror = int(rng.integers(4)), bool(rng.uniform() < 0.5)
        crop = [np.ascontiguousarray(turned(picture[:, y, x], turns, mirror)) for picture in (pair.noisy, pair.clean)]
        return Pair(f"{pair.name}_crop{number}", crop[0], crop[1])


@dataclass(frozen=True)
class PairedFolders:
    """Pairs of noisy and clean images from folders, split by image.

    Args:
        root: folder that holds both, searched with its sub-folders.
        noisy: pattern of the noisy files below root, such as ``*_noisy.*`` or ``noisy/*``; the text that ``*`` stands
            for is the name of the pair (an ending ``.*`` stands for any readable format).
        clean: pattern of the clean files.
        clean_root: folder of the clean files, where it is another than root.
        test_root: another folder of pairs that are all tested on; None takes the last of the shares of root.
        channels: 1 for grey, 3 for colour.
        seed: shuffles the pairs before they are split.
        shares: shares of the pairs for training, calibration, refinement and test.
        crops: number of calibration crops, and of refinement crops.
        crop_size: their side in pixels.
        block_size: side of the blocks that test images are cut into; a smaller image is one block.
        blocks_per_image: at most so many blocks of each test image, spread evenly.
    """

    root: str
    noisy: str = "*_noisy.*"
    clean: str = "*_clean.*"
    clean_root: str | None = None
    test_root: str | None = None
    channels: int = 3
    seed: int = 0
    shares: tuple[float, float, float, float] = (0.4, 0.2, 0.2, 0.2)
    crops: int = 64
    crop_size: int = 80
    block_size: int = 256
    blocks_per_image: int = 4

    def __post_init__(self) -> None:
        for name in ("crops", "crop_size", "block_size", "blocks_per_image"):
            if getattr(self, name) < 1:
                raise UserError(f"data.{name}={getattr(self, name)}: give a whole number, at least 1")
        if self.block_size < SSIM_WINDOW:
            raise UserError(
                f"data.block_size={self.block_size}: give at least {SSIM_WINDOW} pixels, SSIM looks through a window of that side"
            )
        if self.seed < 0:
            raise UserError(f"data.seed={self.seed}: give a whole number, at least 0")
        if len(self.shares) != len(PARTS) or min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise UserError(f"data.shares={list(self.shares)}: give four shares that add up to 1, for {', '.join(PARTS)}")
        if self.test_root and not sum(self.shares[:3]):
            raise UserError(f"data.shares={list(self.shares)}: data.test_root is tested whole; share root among {', '.join(PARTS[:3])}")
        for name in ("noisy", "clean"):
            if getattr(self, name).count("*") - getattr(self, name).endswith(".*") != 1:
                raise UserError(f"data.{name}={getattr(self, name)}: give a pattern with one * for the name of the pair")
        for name in ("root", "clean_root", "test_root"):  # absolute, so that a record of the settings holds in any folder
            if getattr(self, name):
                object.__setattr__(self, name, str(Path(getattr(self, name)).expanduser().absolute()))

    def load(self, seed: int) -> Splits:
        """Find the pairs, split them, read what is needed.

        Args:
            seed: draws the calibration crops.

        Raises:
            UserError: no pairs, a pair without its clean image, damaged files, too few pairs.
        """
        root = Path(self.root)
        found = find_pairs(root, self.noisy, Path(self.clean_root or root), self.clean)
        tested = find_pairs(Path(self.test_root), self.noisy, Path(self.test_root), self.clean) if self.test_root else None
        seen = {path.resolve() for pair in found for path in (pair.noisy, pair.clean)}
        for pair in tested or ():
            if not seen.isdisjoint((pair.noisy.resolve(), pair.clean.resolve())):
                raise UserError(f"data.test_root={self.test_root}: '{pair.noisy}' lies below data.root as well; keep test images apart")
        parts = self._split(found, whole=tested is not None)
        train, calibration, refinement = (PairedCrops(tuple(part), self.channels) for part in parts[:3])
        for part, size in ((train, 1), (calibration, self.crop_size), (refinement, self.crop_size)):
            if part.files:
                part.check(size)  # all files, whichever the crops will be cut from
        return Splits(
            train=train,
            calibration=calibration.draw(np.random.default_rng([1, seed]), self.crops, self.crop_size),
            refinement=refinement.draw(np.random.default_rng([2, self.seed]), self.crops, self.crop_size),
            test=ImageSet(tuple(block for files in (tested or parts[3]) for block in self._blocks(files))),
        )

    def _split(self, found: Sequence[PairFiles], whole: bool) -> list[list[PairFiles]]:
        shares = np.array([*self.shares[:3], 0.0]) / (1 - self.shares[3]) if whole else np.array(self.shares)
        stops = np.round(np.cumsum(shares) * len(found)).astype(int)
        order = np.random.default_rng([0, self.seed]).permutation(len(found))
        parts = [[found[k] for k in sorted(part)] for part in np.split(order, stops[:3])]
        needed = PARTS[1:3] if whole else PARTS[1:]
        for name in needed:
            if not parts[PARTS.index(name)]:
                raise UserError(f"data.root={self.root}: {len(found)} pairs leave none for {name}; give more pairs or other data.shares")
        return parts

    def _blocks(self, files: PairFiles) -> list[Pair]:
        pair = files.read(self.channels)
        places = blocks(pair.noisy.shape, self.block_size, self.blocks_per_image)
        cut = [(pair.noisy[:, y, x].copy(), pair.clean[:, y, x].copy()) for y, x in places]
        return [Pair(f"{pair.name}_{k}" if len(cut) > 1 else pair.name, *both) for k, both in enumerate(cut)]


def find_pairs(root: Path, noisy: str, clean_root: Path, clean: str) -> list[PairFiles]:
    """Find all pairs, in order of their names.

    Args:
        root: folder of the noisy images.
        noisy: their pattern.
        clean_root: folder of the clean images.
        clean: their pattern.

    Raises:
        UserError: no such folder, no noisy image, one without its clean image, or two files of the same name.
    """
    for folder in (root, clean_root):
        if not folder.is_dir():
            raise UserError(f"data: no folder '{folder}'; give data.root the folder of your images")
    left, right = _matches(root, noisy), _matches(clean_root, clean)
    if not left:
        raise UserError(f"data.noisy={noisy}: no image below '{root}' has such a name; readable endings are {', '.join(READERS)}")
    for name in left:
        if name not in right:
            raise UserError(f"{left[name]}: no clean image '{clean.replace('*', name, 1)}' belongs to it; add it or take the noisy one out")
    if unused := len(right.keys() - left.keys()):
        LOG.warning("data: %d clean images below '%s' have no noisy one and are left out", unused, clean_root)
    return [PairFiles(name, left[name], right[name]) for name in sorted(left)]


def _matches(root: Path, pattern: str) -> dict[str, Path]:
    """Readable files below a folder by what ``*`` stands for, with the folder in front."""
    before, after = pattern.removesuffix(".*").split("*")
    any_ending = pattern.endswith(".*")
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in READERS or not path.is_file():
            continue
        place = path.relative_to(root).as_posix()
        place = place.removesuffix(path.suffix) if any_ending or not after else place
        folder, _, file = place.rpartition("/") if "/" not in before else ("", "", place)
        if file.startswith(before) and file.endswith(after) and len(file) > len(before) + len(after):
            middle = file[len(before) : len(file) - len(after)]
            name = f"{folder}/{middle}" if folder else middle
            if name in found:
                raise UserError(f"data: '{found[name]}' and '{path}' are two images of the same name; take one out")
            found[name] = path
    return found
