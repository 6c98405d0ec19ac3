"""Pictures of what a run did: the worst, the median and the best test image."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from qprune_cli.record.folder import Folder
from qprune_cli.types import Floats, Pair

GAP = 4  # white pixels between two pictures


def strip(pictures: Sequence[Floats]) -> NDArray[np.uint8]:
    """(C, H, W) pictures side by side, clipped to [0, 1], as Pillow wants them: (H, W, 3), or (H, W) for grey."""
    gap = np.ones_like(pictures[0][..., :GAP])
    parts = [part for picture in pictures for part in (picture, gap)][:-1]
    joined = np.round(np.clip(np.concatenate(parts, axis=2), 0, 1) * 255).astype(np.uint8)
    return joined[0] if len(joined) == 1 else np.ascontiguousarray(joined.transpose(1, 2, 0))


def write_crop(folder: Folder, name: str, pair: Pair, results: Mapping[str, Floats]) -> None:
    """crops/NAME.png: the noisy image, what networks made of it, and the clean one, side by side.

    The file itself says which image it is (``image``) and what its pictures are (``panels``).

    Args:
        folder: where to.
        name: which image it is.
        pair: the image.
        results: (C, H, W) each, from left to right; clipped to [0, 1].
    """
    (folder.path / "crops").mkdir(exist_ok=True)
    about = PngInfo()
    about.add_itxt("image", pair.name)
    about.add_itxt("panels", ",".join(["noisy", *results, "clean"]))
    with folder.complete(f"crops/{name}.png") as path:
        Image.fromarray(strip([pair.input, *results.values(), pair.target])).save(path, pnginfo=about)
