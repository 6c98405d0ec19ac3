"""Batches of images on the device of a network, in its precision."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from tqdm import tqdm

from qprune_cli.graph.execute import precision
from qprune_cli.types import Floats, ImageSet


def device_batches(model: nn.Module, images: ImageSet, batch: int, label: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs and targets, (<=batch, ...) each, as ``on_device`` makes them; shows a progress bar.

    Args:
        model: the network.
        images: what it is given, and what it is to give: clean images or labels.
        batch: images at once.
        label: text in front of the bar.
    """
    with tqdm(total=len(images), desc=label, unit="image", leave=False, disable=None) as bar:
        for inputs, targets in images.batches(batch):
            yield on_device(model, inputs, targets)
            bar.update(len(inputs))


def on_device(model: nn.Module, inputs: Floats, targets: Floats) -> tuple[Tensor, Tensor]:
    """(N, ...) inputs and targets of a batch on the device of a network; the inputs in its precision, the targets as they are."""
    device = next(model.parameters()).device
    return torch.tensor(inputs, device=device, dtype=precision(model)), torch.from_numpy(targets).to(device)


def first_input(model: nn.Module, images: ImageSet) -> Tensor:
    """(1, ...) input of the first image alone, as ``on_device`` makes it."""
    return next(device_batches(model, ImageSet(images.pairs[:1]), 1, "example"))[0]
