"""Running a network over an image of any size, tile by tile, without visible seams and in bounded memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from qprune_cli.errors import UserError
from qprune_cli.images.image import to_floats
from qprune_cli.types import Floats

GRID = 32  # tiles begin at multiples, so that networks that halve the resolution up to five times group pixels as in the whole image
MARGIN = 3 / 8  # of an overlap, on either side, where the tile that ends counts for nothing
MOST_OVERLAP = 128  # what lies further away than half of it changes a half_unet by less than half of 1/255
FAR = 64  # nothing is gained by knowing how much further than this a network looks


@dataclass(frozen=True)
class Tiling:
    """How images are cut into tiles.

    Along each side tiles begin at multiples of 32, evenly spread, and overlap by at least ``overlap`` pixels. All have ``tile``
    pixels; only the last, which ends with the image, may have up to 31 fewer. An image no longer than a tile is a single one.

    The outer 3/8 of an overlap, where a network lacks most of the neighbourhood, count for nothing; in the middle quarter one tile
    passes linearly into the next.

    Args:
        tile: side of a tile in pixels, a multiple of 32.
        overlap: pixels that neighbours share at least; rounded up to a multiple of 32. More of it makes seams smaller and takes longer:
            with 128 pixels tiles of half_unet differ from the whole image by at most 0.22/255, with 96 by 1.2/255, with 64 by 8.5/255.

    Example:
        >>> Tiling(tile=128, overlap=64).spans(300)
        [(0, 128), (64, 192), (128, 256), (192, 300)]
    """

    tile: int = 512
    overlap: int = MOST_OVERLAP

    def __post_init__(self) -> None:
        if self.tile < 2 * GRID or self.tile % GRID:
            raise UserError(f"--tile {self.tile}: give a multiple of {GRID}, at least {2 * GRID}")
        if not 0 <= self.overlap <= self.tile - GRID:
            raise UserError(f"--overlap {self.overlap}: give 0 to {self.tile - GRID} pixels, {GRID} fewer than the tile has")

    def spans(self, length: int) -> list[tuple[int, int]]:
        """First pixel of every tile along a side, and the first one behind it."""
        if length <= self.tile:
            return [(0, length)]
        steps = -(-(length - self.tile) // GRID)  # of GRID pixels, from the first tile to the last
        count = -(-steps // ((self.tile - self.overlap) // GRID))
        starts = [k * steps // count * GRID for k in range(count + 1)]
        return [(start, min(start + self.tile, length)) for start in starts]

    def weights(self, length: int) -> list[Floats]:
        """(tile,) weights of every tile along a side: ramps from 0 to 1 and back that sum to 1 at each pixel."""
        spans = self.spans(length)
        rises = [np.ones(length), *(_rise(length, second[0], first[1]) for first, second in pairwise(spans))]
        falls = [*rises[1:], np.zeros(length)]
        return [(rise - fall)[start:stop].astype(np.float32) for rise, fall, (start, stop) in zip(rises, falls, spans, strict=True)]

    def count(self, height: int, width: int) -> int:
        """Number of tiles of an image."""
        return len(self.spans(height)) * len(self.spans(width))


def _rise(length: int, start: int, stop: int) -> NDArray[np.float64]:
    """From 0 to 1 in the middle quarter of an overlap, which may be empty."""
    positions = np.arange(length) + 0.5
    margin = MARGIN * (stop - start)
    return np.clip((positions - start - margin) / max(stop - start - 2 * margin, 1e-9), 0, 1)


@torch.inference_mode()
def enough_overlap(model: nn.Module, channels: int, tile: int) -> int:
    """Find out how much tiles have to overlap for a network.

    The network is given images whose outer parts are not a number (NaN). What depends on those is no number either, so the depth to
    which that goes is how far the network looks, whatever its weights and the image. Where the overlap is 8/3 of it, tiles give
    what the whole image gives. A network that looks further than 48 pixels, or at the mean of the whole image, gets 128 pixels:
    ``scripts/apply.py`` shows how little is left then.

    Args:
        model: any network (1, C, h, w) -> (1, C, h, w), in evaluation mode.
        channels: of its images.
        tile: side of the tiles; they overlap by half of it at most.

    Raises:
        UserError: the network does not take an image of 256 x 256 pixels, or does not give one back.
    """
    reach = max(_reach(model, channels, axis) for axis in (1, 2))
    return min(MOST_OVERLAP, tile // 2 // GRID * GRID, ceil(reach / MARGIN / GRID) * GRID)


def _reach(model: nn.Module, channels: int, axis: int) -> int:
    """How far a network looks along an axis, in pixels; ``FAR`` stands for that and more."""
    image = np.full((channels, 4 * FAR, 4 * FAR), 0.5, np.float32)
    np.moveaxis(image, axis, 0)[[*range(FAR), *range(3 * FAR, 4 * FAR)]] = np.nan
    finite = np.moveaxis(np.isfinite(_run(model, image)), axis, 0)[FAR : 3 * FAR].reshape(2 * FAR, -1)
    depths = np.minimum(np.arange(1, 2 * FAR + 1), np.arange(2 * FAR, 0, -1))
    return int(depths[~np.all(finite, axis=1)].max(initial=0))


@torch.inference_mode()
def tiled(model: nn.Module, pixels: NDArray[Any], tiling: Tiling, done: Callable[[], object] = lambda: None) -> Iterator[Floats]:
    """Run a network over an image in tiles.

    Only one row of tiles is held as floats; whoever takes the bands can convert them one by one.

    Args:
        model: any network (1, C, h, w) -> (1, C, h, w), in evaluation mode.
        pixels: (C, H, W) unsigned integers, or floats in [0, 1]; converted tile by tile.
        tiling: how to cut.
        done: called after each tile.

    Yields:
        (C, h, W) float32, from top to bottom; one on top of the other they are the whole result.

    Raises:
        UserError: the network does not take a tile, does not give one back, or gives values that are not finite.
    """
    channels, height, width = pixels.shape
    rows, columns = (list(zip(tiling.spans(side), tiling.weights(side), strict=True)) for side in (height, width))
    band = np.zeros((channels, 0, width), np.float32)  # rows that lower tiles still add to
    finished = 0
    for k, ((top, bottom), down) in enumerate(rows):
        band = np.concatenate([band, np.zeros((channels, bottom - finished - band.shape[1], width), np.float32)], axis=1)
        for (left, right), across in columns:
            output = _output(model, to_floats(pixels[:, top:bottom, left:right]))
            band[:, top - finished :, left:right] += output * (down[:, None] * across)
            done()
        until = rows[k + 1][0][0] if k + 1 < len(rows) else height
        yield band[:, : until - finished]
        band, finished = band[:, until - finished :], until


def denoise(model: nn.Module, pixels: NDArray[Any], tiling: Tiling, done: Callable[[], object] = lambda: None) -> NDArray[Any]:
    """As ``tiled``, clipped to [0, 1] and in the type of the input, rounded to the nearest value."""
    result, row = np.empty_like(pixels), 0
    for band in tiled(model, pixels, tiling, done):
        result[:, row : row + band.shape[1]] = _from_floats(band, pixels.dtype)
        row += band.shape[1]
    return result


def _from_floats(values: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
    clipped = np.clip(values, 0, 1)
    return np.rint(clipped * np.iinfo(dtype).max).astype(dtype) if dtype.kind == "u" else clipped.astype(dtype)


def _output(model: nn.Module, tile: Floats) -> Floats:
    """(C, h, w) output of the network for a (C, h, w) tile; finite."""
    output = _run(model, tile)
    if not np.isfinite(output).all():
        raise UserError("the network gives values that are not finite; its weights do not suit this image")
    return output


def _run(model: nn.Module, tile: Floats) -> Floats:
    """(C, h, w) output of the network for a (C, h, w) tile, which may hold NaN."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        output = model(torch.from_numpy(tile[None]).to(device))
    except Exception as error:  # a network of the user's own may raise anything
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"the network does not take {tile.shape[2]} x {tile.shape[1]} pixels ({why}); it wants other sides") from error
    if not isinstance(output, torch.Tensor) or output.shape != (1, *tile.shape):
        shape = list(output.shape) if isinstance(output, torch.Tensor) else f"a {type(output).__name__}"
        raise UserError(f"the network gives {shape} for an image of shape {[1, *tile.shape]}; it must give one of the same shape")
    values: Floats = output[0].float().cpu().numpy()
    return values
