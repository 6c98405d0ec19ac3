"""Images as a network takes them, batch by batch."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from tqdm import tqdm

from qprune_cli.structure.execute import precision
from qprune_cli.types import ImageSet


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
