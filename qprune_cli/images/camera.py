"""A simulated camera: from a clean photograph to what a small sensor records of it.

Both pictures take the same way: exposure, lens, colour matrix and white balance undone, Bayer mosaic, (noise), linear
demosaic, white balance, colour matrix, gamma, 8 bits. So their difference is noise alone, correlated in space by the
demosaic and between colours by the matrix, as in a real phone.

References:
    Malvar et al., "High-quality linear interpolation for demosaicing of Bayer-patterned color images", ICASSP 2004.
    Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data", 2008.
    Brooks et al., "Unprocessing images for learned raw denoising", CVPR 2019, arXiv:1811.11127 (gains, colour matrices).
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from qprune_cli.errors import UserError
from qprune_cli.types import Floats, Pair

# What the missing colour is, from the 5 x 5 mosaic around it: the plain bilinear mean, and Malvar's correction of it by
# the gradient of the colour that is there.
_BILINEAR = {
    "green": np.array([[0, 0, 0, 0, 0], [0, 0, 2, 0, 0], [0, 2, 0, 2, 0], [0, 0, 2, 0, 0], [0, 0, 0, 0, 0]]) / 8,
    "row": np.array([[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 4, 0, 4, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]) / 8,
    "cross": np.array([[0, 0, 0, 0, 0], [0, 2, 0, 2, 0], [0, 0, 0, 0, 0], [0, 2, 0, 2, 0], [0, 0, 0, 0, 0]]) / 8,
}
_GRADIENT = {
    "green": np.array([[0, 0, -1, 0, 0], [0, 0, 0, 0, 0], [-1, 0, 4, 0, -1], [0, 0, 0, 0, 0], [0, 0, -1, 0, 0]]) / 8,
    "row": np.array([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 0, 5, 0, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]) / 8,
    "cross": np.array([[0, 0, -1.5, 0, 0], [0, 0, 0, 0, 0], [-1.5, 0, 6, 0, -1.5], [0, 0, 0, 0, 0], [0, 0, -1.5, 0, 0]]) / 8,
}
_EVEN, _ODD = slice(0, None, 2), slice(1, None, 2)
# From the colours of a typical phone sensor to linear sRGB, at full strength; every row sums to 1, so grey stays grey.
COLOUR_MATRIX = np.array([[1.75, -0.60, -0.15], [-0.25, 1.60, -0.35], [-0.02, -0.60, 1.62]])
LEVELS = 255  # of the rendered pictures


def to_linear(srgb: Floats) -> Floats:
    """Undo the sRGB transfer curve of an array of any shape; values in [0, 1]."""
    return np.asarray(np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4))


def to_srgb(linear: Floats) -> Floats:
    """Clip an array of any shape to [0, 1] and apply the sRGB transfer curve."""
    clipped = np.clip(linear, 0, 1)
    return np.asarray(np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055))


def bayer(rgb: Floats) -> Floats:
    """(3, H, W) colour -> (H, W) mosaic with the pattern RGGB."""
    mosaic: Floats = rgb[1].copy()
    mosaic[0::2, 0::2] = rgb[0, 0::2, 0::2]
    mosaic[1::2, 1::2] = rgb[2, 1::2, 1::2]
    return mosaic


def demosaic(mosaic: Floats, correction: float = 0.5) -> Floats:
    """(..., H, W) RGGB mosaic -> (3, ..., H, W) colour, by linear interpolation; the border is mirrored.

    Args:
        mosaic: what the sensor saw.
        correction: share of Malvar's gradient correction, from 0 (bilinear) to 1.
    """
    kernels = {name: _BILINEAR[name] + correction * _GRADIENT[name] for name in _BILINEAR}
    padded = np.pad(mosaic, [(0, 0)] * (mosaic.ndim - 2) + [(2, 2), (2, 2)], mode="reflect")
    green, row, cross = (_filtered(padded, kernel) for kernel in kernels.values())
    column = _filtered(padded, kernels["row"].T)
    red, blue = mosaic.copy(), mosaic.copy()
    for colour, y, x in ((red, _EVEN, _EVEN), (blue, _ODD, _ODD)):
        other_y, other_x = (_ODD, _ODD) if y is _EVEN else (_EVEN, _EVEN)
        colour[..., y, other_x] = row[..., y, other_x]  # a green pixel with this colour left and right of it
        colour[..., other_y, x] = column[..., other_y, x]  # a green pixel with this colour above and below it
        colour[..., other_y, other_x] = cross[..., other_y, other_x]
    green[..., _EVEN, _ODD], green[..., _ODD, _EVEN] = mosaic[..., _EVEN, _ODD], mosaic[..., _ODD, _EVEN]
    return np.stack([red, green, blue])


def _filtered(padded: Floats, kernel: Floats) -> Floats:
    """Correlate with a symmetric 5 x 5 kernel, tap by tap; a fifth of the time of a general convolution."""
    height, width = padded.shape[-2] - 4, padded.shape[-1] - 4
    taps = np.argwhere(kernel)
    return np.asarray(sum(kernel[y, x].astype(padded.dtype) * padded[..., y : y + height, x : x + width] for y, x in taps))


@dataclass(frozen=True)
class Camera:
    """Draws exposures, colours and noise levels, and takes noisy pictures.

    The raw signal x in [0, 1] becomes ``shot * Poisson(x / shot) + sqrt(shot) * (read * Normal + offset * Normal per row)``.
    A range is given as its smallest and largest value and drawn from anew for every picture.

    Args:
        shot: shot-noise gain (variance of the noise per unit of signal), drawn log-uniformly.
        read: standard deviation of the read noise, in units of ``sqrt(shot)``: 0.1 means a tenth of the shot noise
            of a saturated pixel.
        offset: standard deviation of what the read-out adds to a whole row, in the same units.
        exposure: a factor on linear light, drawn log-uniformly.
        blur: standard deviation in pixels of the lens's Gaussian spot. Without it the mosaic turns fine detail into colours.
        white_balance: gains of red and of blue, each drawn; the rendering multiplies, so the sensor sees less of them.
        colour: strength of the colour matrix, 1 for a typical phone sensor, 0 for a sensor that sees sRGB.
        correction: share of the gradient correction in the demosaic. Less leaves the noise more correlated.
        mosaic: one colour per pixel behind a Bayer filter; without it every pixel sees all three and noise is white.
        quantised: render to 8 bits, as image files hold them.

    Example:
        >>> scene = np.full((3, 8, 8), 0.2)
        >>> pair = Camera().shoot("grey", scene, np.random.default_rng(0))
        >>> pair.input.shape, bool(abs(pair.input - pair.target).max() > 0)
        ((3, 8, 8), True)
    """

    shot: tuple[float, float] = (4e-4, 4e-2)
    read: float = 0.1
    offset: float = 0.0
    exposure: tuple[float, float] = (0.5, 1.0)
    blur: tuple[float, float] = (0.4, 0.8)
    white_balance: tuple[float, float] = (1.4, 2.0)
    colour: tuple[float, float] = (0.0, 0.6)
    correction: tuple[float, float] = (0.4, 0.9)
    mosaic: bool = True
    quantised: bool = True

    def __post_init__(self) -> None:
        ranges = {field.name: getattr(self, field.name) for field in fields(self) if isinstance(field.default, tuple)}
        for name, values in ranges.items():
            least = 1 if name == "white_balance" else 0
            if len(values) != 2 or not least <= values[0] <= values[1] < np.inf or (name in ("shot", "exposure") and not values[0]):
                limit = f"at least {least}" if name not in ("shot", "exposure") else "above 0"
                raise UserError(f"data.camera.{name}={list(values)}: give the smallest and the largest value, both {limit}")
        for name in ("read", "offset"):
            if not 0 <= getattr(self, name) < np.inf:
                raise UserError(f"data.camera.{name}={getattr(self, name)}: give a standard deviation, at least 0")

    def shoot(self, name: str, scene: NDArray[np.floating], rng: np.random.Generator, level: float | None = None) -> Pair:
        """Photograph a clean picture with simulated noise.

        Args:
            name: name of the resulting pair.
            scene: (3, H, W) linear light in [0, 1] (see ``to_linear``); computed in its own precision.
            rng: source of all randomness.
            level: noise level in [0, 1], from the smallest to the largest gain; None draws one.

        Returns:
            The pair, float32, both pictures rendered from the same exposure.
        """
        level = rng.uniform() if level is None else level
        exposure, shot = np.exp(rng.uniform(*np.log(self.exposure))), self.shot[0] * (self.shot[1] / self.shot[0]) ** level
        strength, correction = rng.uniform(*self.colour), rng.uniform(*self.correction)
        gains = np.array([rng.uniform(*self.white_balance), 1.0, rng.uniform(*self.white_balance)])
        render = ((1 - strength) * np.eye(3) + strength * COLOUR_MATRIX) * gains  # sensor colours to linear sRGB
        spot = rng.uniform(*self.blur)
        seen = gaussian_filter(scene, spot, truncate=3, axes=(1, 2)) * scene.dtype.type(exposure)
        sensor = np.einsum("ij,jyx->iyx", np.linalg.inv(render).astype(scene.dtype), seen)
        raw = np.maximum(sensor, 0) if not self.mosaic else bayer(np.maximum(sensor, 0))
        spread = self.read * rng.standard_normal(raw.shape) + self.offset * rng.standard_normal((*raw.shape[:-1], 1))
        noisy = shot * rng.poisson(raw / shot) + np.sqrt(shot) * spread
        both = np.stack([noisy.astype(raw.dtype), raw], axis=raw.ndim - 2)
        both = demosaic(both, correction) if self.mosaic else both
        pictures = to_srgb(np.einsum("ij,jbyx->biyx", render.astype(raw.dtype), both))
        pictures = np.round(pictures * LEVELS) / LEVELS if self.quantised else pictures
        return Pair(name, *pictures.astype(np.float32))
