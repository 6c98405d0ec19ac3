"""Reading one image file: PNG, JPEG or TIFF, 8 or 16 bit, grey or colour."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from qprune_cli.errors import UserError
from qprune_cli.types import Floats


def _jpeg(content: bytes) -> Any:
    with Image.open(BytesIO(content)) as picture:
        if picture.mode not in ("L", "RGB"):
            raise ValueError(f"colours in {picture.mode}, neither grey nor RGB")
        return np.asarray(picture)


def _tiff(content: bytes) -> Any:
    return tifffile.imread(BytesIO(content))


# Pillow has no 16-bit colour, imagecodecs fills the end of a cut JPEG with grey: each format has the reader that
# neither loses bits nor hides damage.
READERS: dict[str, Callable[[bytes], Any]] = {
    ".png": imagecodecs.png_decode,
    ".jpg": _jpeg,
    ".jpeg": _jpeg,
    ".tif": _tiff,
    ".tiff": _tiff,
}


def read_image(path: Path, channels: int) -> Floats:
    """Read an image as (C, H, W) float32 in [0, 1].

    Args:
        path: a file whose ending names its format; 8 and 16 bit integers are scaled, floats are taken as they are.
        channels: 1 for grey, 3 for colour. The alpha channel of a PNG is dropped; nothing else is converted.

    Raises:
        UserError: damaged file, another number of channels, values that are not finite.
    """
    return to_floats(decode(path, read_bytes(path), channels))


def read_bytes(path: Path) -> bytes:
    """Read all bytes of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); make it readable or take it out") from error


def to_floats(pixels: NDArray[Any]) -> Floats:
    """Turn pixels of any shape into float32: 8 and 16 bit integers are scaled to [0, 1], floats stay as they are."""
    top = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    return pixels.astype(np.float32) / np.float32(top)


def decode(path: Path, content: bytes, channels: int | None) -> NDArray[Any]:
    """Decode the content of an image file.

    Args:
        path: where it comes from; the ending names its format.
        content: all bytes of the file.
        channels: 1 for grey, 3 for colour, None for either.

    Returns:
        (C, H, W) unsigned integers, or float32 in [0, 1].

    Raises:
        UserError: damaged file, another number of channels, values that are not finite.
    """
    try:
        array = np.asarray(READERS[path.suffix.lower()](content))
    except Exception as error:  # each reader has its own kinds of errors; all of them mean a damaged file
        why = " ".join(str(error).split())
        raise UserError(f"{path}: damaged or not a {path.suffix} image ({why}); replace it or take it out") from error
    array = array[..., None] if array.ndim == 2 else array
    array = array[..., :-1] if path.suffix.lower() == ".png" and array.shape[-1] in (2, 4) else array
    if array.ndim != 3 or array.shape[-1] not in ((1, 3) if channels is None else (channels,)):
        wanted = "1 or 3 are readable" if channels is None else f"the network wants {channels}"
        raise UserError(f"{path}: {array.shape[-1]} channels where {wanted}; convert the images or take another model")
    if array.dtype.kind not in "uf":
        raise UserError(f"{path}: pixels of type {array.dtype}; save them as 8 or 16 bit, or as floats in [0, 1]")
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise UserError(f"{path}: holds values that are not finite (NaN or infinity); repair the image or take it out")
        if array.min() < 0 or array.max() > 1:
            raise UserError(f"{path}: holds floats from {array.min():g} to {array.max():g}; scale them to [0, 1]")
    return np.ascontiguousarray(array.transpose(2, 0, 1))
