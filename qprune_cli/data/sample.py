"""The embedded default: six photographs that ship with scikit-image, seen through a simulated camera."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import skimage
from skimage.transform import rescale

from qprune_cli.errors import UserError
from qprune_cli.images.camera import Camera, to_linear
from qprune_cli.images.crops import blocks, random_place, turned
from qprune_cli.images.image import read_image
from qprune_cli.types import Floats, ImageSet, Pair, Splits

# Public domain or CC0, as the data page of scikit-image states for each.
TEST = ("coffee.png", "chelsea.png")
SEEN = ("astronaut.png", "rocket.jpg", "hubble_deep_field.jpg", "retina.jpg")
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
# Vertical bands of each seen photograph, as shares of its width.
BANDS = {"train": (0.0, 0.6), "calibration": (0.6, 0.8), "refinement": (0.8, 1.0)}


def as_channels(pair: Pair, channels: int) -> Pair:
    """The pair as it is, (3, H, W), or for one channel in grey (Rec. 709 luminance), (1, H, W)."""
    if channels == 3:
        return pair
    noisy, clean = (np.tensordot(LUMINANCE, picture, axes=1)[None].astype(np.float32) for picture in (pair.input, pair.target))
    return Pair(pair.name, noisy, clean)


def recoloured(scene: Floats, rng: np.random.Generator) -> Floats:
    """Swap the colours of a (3, H, W) scene in linear light, and draw a saturation and a balance."""
    grey = np.tensordot(LUMINANCE.astype(scene.dtype), scene, axes=1)
    saturated = grey + scene.dtype.type(rng.uniform(0, 1.4)) * (scene[rng.permutation(3)] - grey)
    balance: Floats = rng.uniform(0.6, 1, size=(3, 1, 1)).astype(scene.dtype)
    return np.asarray(np.clip(saturated * balance, 0, 1))


@dataclass(frozen=True)
class SimulatedCrops:
    """Random crops of clean scenes, each with fresh noise; every scene is drawn equally often.

    Args:
        scenes: one tuple per photograph with its linear light at one or several scales, each (3, H, W) in [0, 1].
        camera: what photographs them.
        channels: 3 for colour, 1 for grey.
        recolour: change the colours at random, so that a network sees more of them than a few photographs hold.
    """

    scenes: tuple[tuple[Floats, ...], ...]
    camera: Camera
    channels: int = 3
    recolour: bool = False

    def check(self, size: int) -> None:
        """Refuse crops of ``size`` x ``size`` pixels that are larger than a scene.

        Raises:
            UserError: a scene is too small.
        """
        for scene in self.scenes:
            random_place(scene[0].shape, size, np.random.default_rng(0))

    def draw(self, rng: np.random.Generator, count: int, size: int) -> ImageSet:
        """Cut ``count`` crops of ``size`` x ``size``, turned at random; each has an exposure and noise that no other has."""
        levels = (rng.permutation(count) + rng.uniform(size=count)) / count
        return ImageSet(tuple(self._crop(rng, f"crop{k}", size, level) for k, level in enumerate(levels)))

    def _crop(self, rng: np.random.Generator, name: str, size: int, level: float) -> Pair:
        scales = [scene for scene in self.scenes[rng.integers(len(self.scenes))] if min(scene.shape[1:]) >= size]
        scene = scales[rng.integers(len(scales))]
        crop = turned(scene[:, *random_place(scene.shape, size, rng)], int(rng.integers(4)), bool(rng.uniform() < 0.5))
        crop = recoloured(crop, rng) if self.recolour else crop
        return as_channels(self.camera.shoot(name, crop, rng, level), self.channels)


@dataclass(frozen=True)
class Sample:
    """Six colour photographs with simulated camera noise; needs no download.

    Coffee and chelsea are the test photographs and appear in no other split. Astronaut, rocket, hubble_deep_field
    and retina are each cut into three vertical bands: training, calibration, refinement.

    Args:
        channels: 3 for colour; 1 turns the finished noisy and clean pictures grey.
        seed: draws noise and exposures of the test blocks and the refinement crops.
        crops: number of calibration crops, and of refinement crops.
        crop_size: their side in pixels.
        block_size: side of the test blocks in pixels; 128 gives 18 blocks.
        camera: the simulated camera.
        scales: sizes at which training sees each photograph, relative to the original, which is always among them.
        recolour: whether training swaps colour channels and changes their saturation and balance at random.

    Example:
        >>> splits = Sample(crops=4).load(seed=0)
        >>> len(splits.calibration), len(splits.test), splits.test.pairs[0].name
        (4, 18, 'coffee_0')
    """

    channels: int = 3
    seed: int = 0
    crops: int = 64
    crop_size: int = 80
    block_size: int = 128
    camera: Camera = field(default_factory=Camera)
    scales: tuple[float, ...] = (0.7,)
    recolour: bool = True

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise UserError(f"data.channels={self.channels}: give 3 for colour or 1 for grey")
        if self.seed < 0:
            raise UserError(f"data.seed={self.seed}: give a whole number, at least 0")
        if self.crops < 1:
            raise UserError(f"data.crops={self.crops}: give a number of crops, at least 1")
        if not 8 <= self.crop_size <= 80:
            raise UserError(f"data.crop_size={self.crop_size}: give 8 to 80 pixels, the bands are no wider")
        if any(not 0.25 <= scale <= 4 for scale in self.scales):
            raise UserError(f"data.scales={list(self.scales)}: give factors from 0.25 to 4")
        if not 16 <= self.block_size <= 300:
            raise UserError(f"data.block_size={self.block_size}: give 16 to 300 pixels, the photographs are no taller")

    def load(self, seed: int) -> Splits:
        """Read the photographs and take the noisy pictures.

        Args:
            seed: draws the calibration crops and their noise.
        """
        scenes = {name: self._scene(name) for name in SEEN}
        bands = {part: [self._band(scenes[name], *share) for name in SEEN] for part, share in BANDS.items()}
        train = tuple((band, *(self._scaled(band, scale) for scale in self.scales)) for band in bands["train"])
        seen = {part: SimulatedCrops(tuple((band,) for band in bands[part]), self.camera, self.channels) for part in BANDS}
        return Splits(
            train=SimulatedCrops(train, self.camera, self.channels, self.recolour),
            calibration=seen["calibration"].draw(np.random.default_rng([1, seed]), self.crops, self.crop_size),
            refinement=seen["refinement"].draw(np.random.default_rng([2, self.seed]), self.crops, self.crop_size),
            test=self.test(),
        )

    def test(self) -> ImageSet:
        """Take the noisy pictures of the test photographs alone."""
        return self._test({name: self._scene(name) for name in TEST})

    def _scene(self, name: str) -> Floats:
        return to_linear(self._read(name)).astype(np.float32)

    def _test(self, scenes: dict[str, Floats]) -> ImageSet:
        rng = np.random.default_rng([3, self.seed])
        cut = [
            (f"{Path(name).stem}_{k}", scene[:, *window])
            for name, scene in scenes.items()
            for k, window in enumerate(blocks(scene.shape, self.block_size))
        ]
        levels = (rng.permutation(len(cut)) + 0.5) / len(cut)
        shots = (self.camera.shoot(name, scene, rng, level) for (name, scene), level in zip(cut, levels, strict=True))
        return ImageSet(tuple(as_channels(pair, self.channels) for pair in shots))

    @staticmethod
    def _read(name: str) -> Floats:
        return read_image(Path(skimage.__file__).parent / "data" / name, channels=3)

    @staticmethod
    def _band(picture: Floats, start: float, stop: float) -> Floats:
        width = picture.shape[-1]
        return picture[..., int(start * width) : int(stop * width)]

    @staticmethod
    def _scaled(scene: Floats, scale: float) -> Floats:
        resized: Floats = rescale(scene, scale, channel_axis=0, anti_aliasing=scale < 1)
        return np.clip(resized, 0, 1).astype(np.float32)
