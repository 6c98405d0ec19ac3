"""Samples that a program is written for: a few calibration images, all of one shape."""

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.errors import UserError
from qprune_cli.graph.execute import precision
from qprune_cli.types import ImageSet, Ints


def balanced(images: ImageSet, each: int, rng: np.random.Generator) -> ImageSet:
    """The same number of images of each class, drawn at random; of a class that has fewer, all."""
    labels = labels_of(images)
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:each] for label in np.unique(labels)]
    return ImageSet(tuple(images.pairs[int(k)] for k in np.sort(np.concatenate(chosen))))


def labels_of(images: ImageSet) -> Ints:
    """(N,) labels."""
    return np.array([pair.target for pair in images.pairs], np.int64)


def inputs_of(model: nn.Module, images: ImageSet) -> Tensor:
    """All images as one batch, on the device of a network and in its precision.

    Raises:
        UserError: they differ in shape.
    """
    pictures = [pair.input for pair in images.pairs]
    if len({picture.shape for picture in pictures}) > 1:
        raise UserError("scorer.patch: calibration images of several shapes are left; give a smaller patch, which all of them hold")
    device = next(model.parameters()).device
    return torch.from_numpy(np.stack(pictures)).to(device, precision(model))
