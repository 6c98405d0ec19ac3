"""Any noisy and clean images: two folders, or one folder with a naming pattern."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qprune_cli.errors import UserError
from qprune_cli.images.files import PARTS, Cutting, PairFiles
from qprune_cli.images.image import READERS
from qprune_cli.places import absolute_path
from qprune_cli.types import ImageSet, Splits

LOG = logging.getLogger("qprune_cli")


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
        patch: side of the patches that the other images are cut into, once, before crops are cut out of them.
        patches_per_image: at most so many patches of each image, spread evenly.
        cache: folder of the patches; None for QPRUNE_CACHE, or else the user's cache folder.
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
    patch: int = 256
    patches_per_image: int = 48
    cache: str | None = None

    def __post_init__(self) -> None:
        Cutting.of(self)
        check_patterns(self.noisy, self.clean)
        for name in ("root", "clean_root", "test_root", "cache"):  # absolute, so that a record of the settings holds in any folder
            if getattr(self, name):
                object.__setattr__(self, name, absolute_path(getattr(self, name)))

    def load(self, seed: int) -> Splits:
        """Find the pairs, split them, and read and cut their images.

        Args:
            seed: draws the calibration crops.

        Raises:
            UserError: no pairs, a pair without its clean image, damaged files, too few pairs.
        """
        return Cutting.of(self).cut(self._parts(PARTS[1:]), None, seed)

    def test(self) -> ImageSet:
        """Read the test images alone; ``shares=[0, 0, 0, 1]`` makes all images test images.

        Raises:
            UserError: as ``load``.
        """
        return Cutting.of(self).test_blocks(self._parts(("test",))[3])

    def _parts(self, needed: Sequence[str]) -> list[list[PairFiles]]:
        """The pairs of each of the four parts; those in ``needed`` must not be empty."""
        root = Path(self.root)
        pairs = find_pairs(root, self.noisy, Path(self.clean_root or root), self.clean)
        test_pairs = find_pairs(Path(self.test_root), self.noisy, Path(self.test_root), self.clean) if self.test_root else None
        files = {path.resolve() for pair in pairs for path in (pair.noisy, pair.clean)}
        for pair in test_pairs or ():
            if not files.isdisjoint((pair.noisy.resolve(), pair.clean.resolve())):
                raise UserError(f"data.test_root={self.test_root}: '{pair.noisy}' lies below data.root as well; keep test images apart")
        parts = Cutting.of(self).shared(pairs, test_pairs is not None, "pairs", needed)
        return [*parts[:3], test_pairs or parts[3]]


def check_patterns(noisy: str, clean: str) -> None:
    """Refuse patterns that do not say where the name of a pair stands.

    Raises:
        UserError: a pattern without ``*``, or with several.
    """
    for name, pattern in (("noisy", noisy), ("clean", clean)):
        if pattern.count("*") - pattern.endswith(".*") != 1:
            raise UserError(f"data.{name}={pattern}: give a pattern with one * for the name of the pair")


def find_pairs(root: Path, noisy: str, clean_root: Path, clean: str) -> list[PairFiles]:
    """Find all pairs of a noisy and a clean image, in order of their names.

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
    noisy_files, clean_files = _matches(root, noisy), _matches(clean_root, clean)
    if not noisy_files:
        raise UserError(f"data.noisy={noisy}: no image below '{root}' has such a name; readable endings are {', '.join(READERS)}")
    for name, path in noisy_files.items():
        if name not in clean_files:
            raise UserError(f"{path}: no clean image '{clean.replace('*', name, 1)}' belongs to it; add it or take the noisy one out")
    if unused := len(clean_files.keys() - noisy_files.keys()):
        LOG.warning("data: %d clean images below '%s' have no noisy one and are left out", unused, clean_root)
    return [PairFiles(name, noisy_files[name], clean_files[name]) for name in sorted(noisy_files)]


def _matches(root: Path, pattern: str) -> dict[str, Path]:
    """Readable files below a folder by what ``*`` stands for, with the folder in front."""
    before, after = pattern.removesuffix(".*").split("*")
    any_ending = pattern.endswith(".*")
    files: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in READERS or not path.is_file():
            continue
        relative = path.relative_to(root).as_posix()
        relative = relative.removesuffix(path.suffix) if any_ending or not after else relative
        folder, _, file = relative.rpartition("/") if "/" not in before else ("", "", relative)
        if file.startswith(before) and file.endswith(after) and len(file) > len(before) + len(after):
            middle = file[len(before) : len(file) - len(after)]
            name = f"{folder}/{middle}" if folder else middle
            if name in files:
                raise UserError(f"data: '{files[name]}' and '{path}' are two images of the same name; take one out")
            files[name] = path
    return files
