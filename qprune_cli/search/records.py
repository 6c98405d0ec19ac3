"""What was measured of masks, and its arrays in the file of an unfinished refinement."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class MaskRecord(NamedTuple):
    """What was measured of a mask.

    Attributes:
        merit: mean merit on the tuned images; an estimate where the mask was given up early.
        images: number of tuned images that it was measured on.
    """

    merit: float
    images: int


def packed(records: Mapping[bytes, MaskRecord]) -> dict[str, NDArray[Any]]:
    """Records of k masks, by the bytes of the mask, as arrays: ``masks`` (k, n / 8) packed bits, ``merit`` (k,), ``images`` (k,)."""
    masks, values = np.stack([np.frombuffer(key, bool) for key in records]), list(records.values())
    return {
        "masks": np.packbits(masks, axis=1),
        "merit": np.array([value.merit for value in values]),
        "images": np.array([value.images for value in values]),
    }


def unpacked(saved: Mapping[str, NDArray[Any]], n: int) -> dict[bytes, MaskRecord]:
    """The records that ``packed`` has written, by the bytes of their (n,) masks."""
    masks = np.unpackbits(saved["masks"], axis=1, count=n).astype(bool)
    rows = zip(masks, saved["merit"], saved["images"], strict=True)
    return {mask.tobytes(): MaskRecord(float(merit), int(images)) for mask, merit, images in rows}
