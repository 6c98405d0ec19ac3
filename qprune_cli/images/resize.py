"""Bilinear resizing of many small images at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qprune_cli.types import Floats

CHUNK = 4096  # images that are resized at once, so that few are floats at a time


def resized(images: NDArray[Any], side: int) -> NDArray[Any]:
    """Resize images to a side, bilinearly; a smaller side takes in every pixel.

    Args:
        images: (N, C, H, W) uint8, or float32 in [0, 1].
        side: height and width of the result.

    Returns:
        (N, C, side, side) of the same type; integers are rounded.

    Example:
        >>> resized(np.array([[[[0, 100], [0, 100]]]], np.uint8), 4)[0, 0, 0].tolist()
        [0, 25, 75, 100]
    """
    rows, columns = (triangles(length, side) for length in images.shape[-2:])
    result = np.empty((*images.shape[:2], side, side), images.dtype)
    for start in range(0, len(images), CHUNK):
        part = rows @ images[start : start + CHUNK].astype(np.float32) @ columns.T
        result[start : start + CHUNK] = np.rint(part) if images.dtype.kind == "u" else part
    return result


def triangles(length: int, side: int) -> Floats:
    """(side, length) weights of the pixels of a row in those of the resized row."""
    scale = length / side
    centres = (np.arange(side)[:, None] + 0.5) * scale - 0.5
    positions = np.clip(centres, 0, length - 1) if scale < 1 else centres
    weights = np.maximum(1 - np.abs(np.arange(length) - positions) / max(scale, 1), 0)
    shares: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
