"""Reading one image file: PNG, JPEG or TIFF, 8 or 16 bit, grey or colour."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from qprune_cli.errors import UserError
from qprune_cli.types import Floats


def _jpeg(path: Path) -> Any:
    with Image.open(path) as picture:
        if picture.mode not in ("L", "RGB"):
            raise ValueError(f"colours in {picture.mode}, neither grey nor RGB")
        return np.asarray(picture)


# Pillow has no 16-bit colour, imagecodecs fills the end of a cut JPEG with grey: each format has the reader that
# neither loses bits nor hides damage.
READERS: dict[str, Callable[[Path], Any]] = {
    ".png": lambda path: imagecodecs.png_decode(path.read_bytes()),
    ".jpg": _jpeg,
    ".jpeg": _jpeg,
    ".tif": tifffile.imread,
    ".tiff": tifffile.imread,
}


def read_image(path: Path, channels: int) -> Floats:
    """Read an image as (C, H, W) float32 in [0, 1].

    Args:
        path: a file whose ending names its format; 8 and 16 bit integers are scaled, floats are taken as they are.
        channels: 1 for grey, 3 for colour. The alpha channel of a PNG is dropped; nothing else is converted.

    Raises:
        UserError: damaged file, another number of channels, values that are not finite.
    """
    try:
        array = np.asarray(READERS[path.suffix.lower()](path))
    except Exception as error:  # each reader has its own kinds of errors; all of them mean a damaged file
        why = " ".join(str(error).split())
        raise UserError(f"{path}: damaged or not a {path.suffix} image ({why}); replace it or take it out") from error
    array = array[..., None] if array.ndim == 2 else array
    array = array[..., :-1] if path.suffix.lower() == ".png" and array.shape[-1] in (2, 4) else array
    if array.ndim != 3 or array.shape[-1] != channels:
        raise UserError(f"{path}: {array.shape[-1]} channels where the network wants {channels}; convert the images or take another model")
    if array.dtype.kind == "u":
        scaled = array.astype(np.float32) / np.iinfo(array.dtype).max
    elif array.dtype.kind == "f":
        scaled = array.astype(np.float32)
    else:
        raise UserError(f"{path}: pixels of type {array.dtype}; save them as 8 or 16 bit, or as floats in [0, 1]")
    if not np.isfinite(scaled).all():
        raise UserError(f"{path}: holds values that are not finite (NaN or infinity); repair the image or take it out")
    if scaled.min() < 0 or scaled.max() > 1:
        raise UserError(f"{path}: holds floats from {scaled.min():g} to {scaled.max():g}; scale them to [0, 1]")
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))
