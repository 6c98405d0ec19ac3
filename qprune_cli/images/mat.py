"""SIDD's validation blocks: two MATLAB files of 40 images x 32 blocks of 256 x 256 pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from qprune_cli.errors import UserError
from qprune_cli.images.image import to_floats
from qprune_cli.types import ImageSet, Pair

NOISY, CLEAN = "ValidationNoisyBlocksSrgb", "ValidationGtBlocksSrgb"
SHAPE = (40, 32, 256, 256, 3)


@dataclass(frozen=True)
class Blocks(Sequence[Pair]):
    """Pairs of blocks, kept as 8 bit (two times 250 MB for all of them) and made floats when asked for.

    Args:
        noisy: (I, B, H, W, 3) uint8.
        clean: the same shape.
    """

    noisy: NDArray[np.uint8]
    clean: NDArray[np.uint8]

    def __len__(self) -> int:
        return int(np.prod(self.noisy.shape[:2]))

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Pair, ...]: ...
    def __getitem__(self, index: int | slice) -> Pair | tuple[Pair, ...]:
        if isinstance(index, slice):
            return tuple(self[k] for k in range(*index.indices(len(self))))
        image, block = divmod(range(len(self))[index], self.noisy.shape[1])
        noisy, clean = (to_floats(stack[image, block].transpose(2, 0, 1)) for stack in (self.noisy, self.clean))
        return Pair(f"{image:02d}_{block:02d}", np.ascontiguousarray(noisy), np.ascontiguousarray(clean))


def read_validation(folder: Path) -> ImageSet:
    """Read the official validation blocks, or any leading slice of them (fewer images, fewer blocks of each).

    Args:
        folder: holds both .mat files.

    Raises:
        UserError: a file is missing, damaged, or holds something else.
    """
    noisy, clean = (_read(folder / f"{name}.mat", name) for name in (NOISY, CLEAN))
    if noisy.shape != clean.shape:
        raise UserError(f"{folder}: {NOISY}.mat has the shape {noisy.shape} and {CLEAN}.mat {clean.shape}; both must be of the same slice")
    return ImageSet(Blocks(noisy, clean))


def _read(path: Path, key: str) -> NDArray[np.uint8]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; `qprune data fetch sidd_validation` downloads it")
    try:
        content: dict[str, Any] = loadmat(str(path))
    except Exception as error:  # scipy raises many kinds; all mean that this is no such MATLAB file
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: not a readable MATLAB 5 file ({why}); fetch it again") from error
    if key not in content:
        names = ", ".join(sorted(name for name in content if not name.startswith("__"))) or "nothing"
        raise UserError(f"{path}: holds {names} where '{key}' is expected; take the official file")
    blocks = content[key]
    whole = isinstance(blocks, np.ndarray) and blocks.ndim == 5 and blocks.dtype == np.uint8
    if not whole or blocks.shape[2:] != SHAPE[2:] or any(not 1 <= n <= most for n, most in zip(blocks.shape[:2], SHAPE, strict=False)):
        kind = f"{getattr(blocks, 'dtype', type(blocks).__name__)} of shape {getattr(blocks, 'shape', '?')}"
        raise UserError(f"{path}: '{key}' is {kind}; expected uint8 of shape {SHAPE} or a leading slice of it")
    return np.ascontiguousarray(blocks)
