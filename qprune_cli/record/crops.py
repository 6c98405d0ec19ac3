"""Pictures of what a run did: the worst, the median and the best test image."""

from collections.abc import Mapping

import numpy as np
from PIL import Image

from qprune_cli.record.folder import Folder
from qprune_cli.types import Floats, Pair

GAP = 4  # white pixels between two pictures


def write_crop(folder: Folder, name: str, pair: Pair, results: Mapping[str, Floats]) -> None:
    """crops/NAME.png: the noisy image, what networks made of it, and the clean one, side by side.

    Args:
        folder: where to.
        name: which image it is.
        pair: the image.
        results: (C, H, W) each, from left to right; clipped to [0, 1].
    """
    gap = np.ones_like(pair.clean[..., :GAP])
    parts = [part for picture in (pair.noisy, *results.values(), pair.clean) for part in (picture, gap)][:-1]
    strip = np.round(np.clip(np.concatenate(parts, axis=2), 0, 1) * 255).astype(np.uint8)
    (folder.path / "crops").mkdir(exist_ok=True)
    with folder.complete(f"crops/{name}.png") as path:
        Image.fromarray(strip[0] if len(strip) == 1 else strip.transpose(1, 2, 0)).save(path)
