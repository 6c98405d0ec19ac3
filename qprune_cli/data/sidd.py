"""SIDD: real noise of five smartphones, with clean references.

References:
    Abdelhamed, Lin, Brown, "A high-quality denoising dataset for smartphone cameras", CVPR 2018.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from qprune_cli.errors import UserError
from qprune_cli.images.files import PARTS, Cutting, PairFiles
from qprune_cli.images.mat import read_validation
from qprune_cli.places import absolute_path
from qprune_cli.types import ImageSet, Splits

INSTANCE = re.compile(r"(\d{4})_(\d{3})_(\w\w)_(\d{5})_(\d{5})_(\d{4})_([LNH])")
FRAME = re.compile(r"(?:\d{4}_)?(NOISY|GT)_SRGB_(\d{3})\.PNG", re.IGNORECASE)


class SceneInstance(NamedTuple):
    """A scene as one phone photographed it once, read from the name of its folder.

    Attributes:
        number: of the instance.
        scene: one of ten; the same scene was photographed by several phones in several lights.
        phone: GP, IP, S6, N6 or G4.
        iso: sensitivity.
        shutter: one over the exposure time in seconds.
        temperature: of the light, in kelvin.
        brightness: L low, N normal, H high.
    """

    number: int
    scene: str
    phone: str
    iso: int
    shutter: int
    temperature: int
    brightness: str


class Frame(NamedTuple):
    """A noisy photograph, and the clean one of the same scene.

    Attributes:
        instance: when and how it was taken.
        name: path of its folder below the data set, and its number.
        noisy: file of the noisy photograph.
        clean: file of the clean one; None where it is missing.
    """

    instance: SceneInstance
    name: str
    noisy: Path
    clean: Path | None


def parse_instance(name: str) -> SceneInstance | None:
    """Read the name of a scene-instance folder; None where it is something else.

    Example:
        >>> parse_instance("0001_001_S6_00100_00060_3200_L").iso
        100
    """
    match = INSTANCE.fullmatch(name)
    if not match:
        return None
    number, scene, phone, iso, shutter, temperature, brightness = match.groups()
    return SceneInstance(int(number), scene, phone, int(iso), int(shutter), int(temperature), brightness)


def find_frames(root: Path) -> list[Frame]:
    """Find all noisy frames below a folder, in order of their names, and the clean frames that belong to them.

    Raises:
        UserError: no such folder, or none with the official layout.
    """
    if not root.is_dir():
        raise UserError(f"data.root={root}: no such folder; give the unpacked SIDD_Small_sRGB_Only or SIDD_Medium_Srgb")
    frames = []
    for folder in sorted(path for path in root.rglob("*") if path.is_dir()):
        if (instance := parse_instance(folder.name)) is None:
            continue
        files = {m.groups(): path for path in sorted(folder.iterdir()) if (m := FRAME.fullmatch(path.name.upper()))}
        for (kind, number), path in files.items():
            if kind == "NOISY":
                frames.append(Frame(instance, f"{folder.relative_to(root).as_posix()}/{number}", path, files.get(("GT", number))))
    if not frames:
        raise UserError(
            f"data.root={root}: holds no folder like 0001_001_S6_00100_00060_3200_L with NOISY_SRGB_010.PNG in it; "
            "give the unpacked SIDD_Small_sRGB_Only or SIDD_Medium_Srgb, or take data=pairs for other layouts"
        )
    return frames


@dataclass(frozen=True)
class SIDD:
    """SIDD_Small or SIDD_Medium in sRGB, split by scene: no scene is in two parts.

    With ``validation`` the test images are the official validation blocks, as in the literature; they show other instances of
    the same ten scenes. Without it, a share of the scenes is tested on.

    Args:
        root: the unpacked data set, or a folder above it.
        validation: folder of the two .mat files with the validation blocks; None to test on scenes of root.
        seed: shuffles the scenes before they are split.
        shares: shares of the scenes for training, calibration, refinement and test; with validation the last is not used.
        crops: number of calibration crops, and of refinement crops.
        crop_size: their side in pixels.
        block_size: side of the blocks that test frames are cut into.
        blocks_per_image: at most so many blocks of each test frame, spread evenly.
        patch: side of the patches that frames are cut into, once, before crops are cut out of them.
        patches_per_image: at most so many patches of each frame, spread evenly; 48 of 256 pixels make 19 MB a pair.
        cache: folder of the patches; None for QPRUNE_CACHE, or else the user's cache folder.
    """

    channels: ClassVar[int] = 3  # all photographs are in colour
    root: str
    validation: str | None = None
    seed: int = 0
    shares: tuple[float, float, float, float] = (0.4, 0.2, 0.2, 0.2)
    crops: int = 64
    crop_size: int = 80
    block_size: int = 256
    blocks_per_image: int = 8
    patch: int = 256
    patches_per_image: int = 48
    cache: str | None = None

    def __post_init__(self) -> None:
        Cutting.of(self)
        for name in ("root", "validation", "cache"):  # absolute, so that a record of the settings holds in any folder
            if getattr(self, name):
                object.__setattr__(self, name, absolute_path(getattr(self, name)))

    def load(self, seed: int) -> Splits:
        """Find the frames, split the scenes, and read and cut their frames.

        Args:
            seed: draws the calibration crops.

        Raises:
            UserError: another layout, a frame without its clean one, damaged files, too few scenes.
        """
        test = read_validation(Path(self.validation)) if self.validation else None
        return Cutting.of(self).cut(self._parts(PARTS[1:]), test, seed)

    def test(self) -> ImageSet:
        """Read the test images alone: the validation blocks, or the frames of the test scenes.

        Raises:
            UserError: as ``load``.
        """
        if self.validation:
            return read_validation(Path(self.validation))
        return Cutting.of(self).test_blocks(self._parts(("test",))[3])

    def _parts(self, needed: Sequence[str]) -> list[list[PairFiles]]:
        """The frames of each of the four parts; those in ``needed`` must not be empty."""
        frames = find_frames(Path(self.root))
        for frame in frames:
            if frame.clean is None:
                raise UserError(
                    f"{frame.noisy}: no clean frame GT_SRGB belongs to it; add it or take the folder out (`qprune data check {self.root}`)"
                )
        scenes = sorted({frame.instance.scene for frame in frames})
        return [
            [PairFiles(f.name, f.noisy, f.clean) for f in frames if f.clean and f.instance.scene in part]
            for part in Cutting.of(self).shared(scenes, self.validation is not None, "scenes", needed)
        ]
