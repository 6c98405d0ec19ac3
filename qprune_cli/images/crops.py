"""Cutting pictures into blocks and random crops."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qprune_cli.errors import UserError


def blocks(shape: tuple[int, ...], size: int, most: int | None = None, cover: bool = False) -> Iterator[tuple[slice, slice]]:
    """Yield where blocks lie in a picture, spread evenly over it: the rows and the columns of each.

    Args:
        shape: (..., H, W) of the picture.
        size: side of a block in pixels; a smaller picture is one block as large as the picture.
        most: at most so many blocks, evenly spaced among all; None for all.
        cover: let blocks overlap so that they leave nothing out; otherwise they never do.

    Example:
        >>> [(y.start, x.start) for y, x in blocks((3, 4, 9), 4)]
        [(0, 0), (0, 5)]
    """
    starts = []
    for length in shape[-2:]:
        count = max(-(-length // size) if cover else length // size, 1)
        starts.append(np.linspace(0, max(length - size, 0), count).astype(int) if count > 1 else [max(length - size, 0) // 2])
    corners = [(int(y), int(x)) for y in starts[0] for x in starts[1]]
    chosen = np.linspace(0, len(corners) - 1, min(most or len(corners), len(corners))).round().astype(int)
    for k in chosen:
        y, x = corners[k]
        yield slice(y, y + size), slice(x, x + size)


def random_place(shape: tuple[int, ...], size: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Draw the place of one crop of ``size`` x ``size`` pixels in a picture (..., H, W), uniformly: its rows and its columns.

    Raises:
        UserError: the picture is smaller than the crop.
    """
    height, width = shape[-2:]
    if min(height, width) < size:
        raise UserError(f"a picture of {width} x {height} pixels is smaller than a crop of {size}: ask for smaller crops")
    y, x = rng.integers(height - size + 1), rng.integers(width - size + 1)
    return slice(y, y + size), slice(x, x + size)


def turned(picture: NDArray[Any], quarter_turns: int, mirror: bool) -> NDArray[Any]:
    """Rotate a (C, H, W) picture by quarter turns and mirror it."""
    rotated = np.rot90(picture, quarter_turns, axes=(-2, -1))
    return rotated[..., ::-1] if mirror else rotated
