"""Images as a network takes them, batch by batch."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from qprune_cli.graph.execute import precision
from qprune_cli.types import Floats, ImageSet, Pair


def fed(model: nn.Module, images: ImageSet, batch: int, label: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs and targets, (<=batch, ...) each, on the device of a network and in its precision; shows a progress bar.

    Args:
        model: the network.
        images: its images, with clean images or labels.
        batch: images at once.
        label: of the bar.
    """
    device, dtype = next(model.parameters()).device, precision(model)
    with tqdm(total=len(images), desc=label, unit="image", leave=False, disable=None) as bar:
        for noisy, clean in images.batches(batch):
            yield torch.tensor(noisy, device=device, dtype=dtype), torch.from_numpy(clean).to(device)
            bar.update(len(noisy))


def example_of(model: nn.Module, images: ImageSet) -> Tensor:
    """The first image alone."""
    return next(fed(model, ImageSet(images.pairs[:1]), 1, "example"))[0]


def centres(images: ImageSet, count: int, side: int) -> ImageSet:
    """Some images, evenly spread, each cut to its centre."""
    chosen = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
    return ImageSet(tuple(_centre(images.pairs[k], side) for k in chosen))


def _centre(pair: Pair, side: int) -> Pair:
    if pair.input.ndim != 3 or pair.target.shape[1:] != pair.input.shape[1:]:
        return pair

    def cut(picture: Floats) -> Floats:
        top, left = (max(0, (length - side) // 2) for length in picture.shape[1:])
        return picture[:, top : top + side, left : left + side]

    return Pair(pair.name, cut(pair.input), cut(pair.target))
