"""A simulated camera: from a clean photograph to what a small sensor records of it.

Both pictures take the same way: exposure, inverse gamma, white balance undone, Bayer mosaic, (noise), linear
demosaic, white balance, gamma. So their difference is noise alone, correlated by the demosaic as in a real phone.

References:
    Malvar et al., "High-quality linear interpolation for demosaicing of Bayer-patterned color images", ICASSP 2004.
    Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data", 2008.
    Brooks et al., "Unprocessing images for learned raw denoising", CVPR 2019, arXiv:1811.11127 (ranges of gains).
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import convolve

from qprune_cli.errors import UserError
from qprune_cli.types import Floats, Pair

# What the missing colour is, from the 5 x 5 mosaic around it: the plain bilinear mean plus half of Malvar's gradient
# correction, so that noise is as correlated as in SIDD (lag 1: 0.45; bilinear alone gives 0.57, all of Malvar's 0.32).
_GREEN = np.array([[0, 0, -1, 0, 0], [0, 0, 4, 0, 0], [-1, 4, 4, 4, -1], [0, 0, 4, 0, 0], [0, 0, -1, 0, 0]]) / 16
_ROW = np.array([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 8, 5, 8, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]) / 16
_CROSS = np.array([[0, 0, -1.5, 0, 0], [0, 4, 0, 4, 0], [-1.5, 0, 6, 0, -1.5], [0, 4, 0, 4, 0], [0, 0, -1.5, 0, 0]]) / 16
_EVEN, _ODD = slice(0, None, 2), slice(1, None, 2)


def to_linear(srgb: Floats) -> Floats:
    """Undo the sRGB transfer curve; values in [0, 1]."""
    return np.asarray(np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4))


def to_srgb(linear: Floats) -> Floats:
    """Clip to [0, 1] and apply the sRGB transfer curve."""
    clipped = np.clip(linear, 0, 1)
    return np.asarray(np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055))


def bayer(rgb: Floats) -> Floats:
    """(3, H, W) colour -> (H, W) mosaic with the pattern RGGB."""
    mosaic: Floats = rgb[1].copy()
    mosaic[0::2, 0::2] = rgb[0, 0::2, 0::2]
    mosaic[1::2, 1::2] = rgb[2, 1::2, 1::2]
    return mosaic


def demosaic(mosaic: Floats) -> Floats:
    """(H, W) RGGB mosaic -> (3, H, W) colour, by linear interpolation; the border is mirrored."""
    green, row, column, cross = (convolve(mosaic, kernel, mode="mirror") for kernel in (_GREEN, _ROW, _ROW.T, _CROSS))
    red, blue = mosaic.copy(), mosaic.copy()
    for colour, y, x in ((red, _EVEN, _EVEN), (blue, _ODD, _ODD)):
        other_y, other_x = (_ODD, _ODD) if y is _EVEN else (_EVEN, _EVEN)
        colour[y, other_x] = row[y, other_x]  # a green pixel with this colour left and right of it
        colour[other_y, x] = column[other_y, x]  # a green pixel with this colour above and below it
        colour[other_y, other_x] = cross[other_y, other_x]
    green[_EVEN, _ODD], green[_ODD, _EVEN] = mosaic[_EVEN, _ODD], mosaic[_ODD, _EVEN]
    return np.stack([red, green, blue])


@dataclass(frozen=True)
class Camera:
    """Draws exposures and noise levels, and takes noisy pictures.

    The raw signal x in [0, 1] becomes ``shot * Poisson(x / shot) + read * Normal(0, 1)``.

    Args:
        shot: smallest and largest shot-noise gain (variance of the noise per unit of signal), drawn log-uniformly.
        read: standard deviation of the read noise, in units of ``sqrt(shot)``: 0.1 means a tenth of the shot noise
            of a saturated pixel.
        exposure: darkest and brightest exposure, a factor on linear light, drawn log-uniformly.
        white_balance: gains of red and blue that the rendering multiplies, so the sensor sees less of them.

    Example:
        >>> clean = np.full((3, 8, 8), 0.5)
        >>> pair = Camera().shoot("grey", clean, np.random.default_rng(0))
        >>> pair.noisy.shape, bool(abs(pair.noisy - pair.clean).max() > 0)
        ((3, 8, 8), True)
    """

    shot: tuple[float, float] = (6e-4, 6e-2)
    read: float = 0.1
    exposure: tuple[float, float] = (0.5, 1.0)
    white_balance: tuple[float, float] = (1.9, 1.6)

    def __post_init__(self) -> None:
        for name in ("shot", "exposure"):
            low, high = self._two(name)
            if not 0 < low <= high < np.inf:
                raise UserError(f"data.camera.{name}={[low, high]}: give the smallest and the largest value, both above 0")
        if not min(self._two("white_balance")) >= 1:
            raise UserError(f"data.camera.white_balance={list(self.white_balance)}: give gains of red and blue, at least 1")
        if not 0 <= self.read < np.inf:
            raise UserError(f"data.camera.read={self.read}: give a standard deviation, at least 0")

    def _two(self, name: str) -> tuple[float, float]:
        values = getattr(self, name)
        if len(values) != 2:
            raise UserError(f"data.camera.{name}={list(values)}: give two numbers")
        return values[0], values[1]

    def shoot(self, name: str, clean: Floats, rng: np.random.Generator, level: float | None = None) -> Pair:
        """Photograph a clean picture.

        Args:
            name: name of the resulting pair.
            clean: (3, H, W) sRGB in [0, 1].
            rng: source of all randomness.
            level: noise level in [0, 1], from the smallest to the largest gain; None draws one.

        Returns:
            The pair, float32, both pictures rendered from the same exposure.
        """
        level = rng.uniform() if level is None else level
        exposure = np.exp(rng.uniform(*np.log(self.exposure)))
        gains = np.array([self.white_balance[0], 1.0, self.white_balance[1]]).reshape(3, 1, 1)
        raw = bayer(to_linear(clean) * exposure / gains)
        shot = np.exp(np.log(self.shot[0]) * (1 - level) + np.log(self.shot[1]) * level)
        noisy = shot * rng.poisson(raw / shot) + self.read * np.sqrt(shot) * rng.standard_normal(raw.shape)
        render = [to_srgb(demosaic(mosaic) * gains).astype(np.float32) for mosaic in (noisy, raw)]
        return Pair(name, *render)
