"""A few samples of a set of images: which of them, and how they are cut."""

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.errors import UserError
from qprune_cli.graph.execute import precision
from qprune_cli.types import Floats, ImageSet, Ints, Pair


def balanced(images: ImageSet, each: int, rng: np.random.Generator) -> ImageSet:
    """The same number of images of each class, drawn at random; of a class that has fewer, all."""
    labels = labels_of(images)
    drawn = [rng.permutation(np.flatnonzero(labels == label))[:each] for label in np.unique(labels)]
    return ImageSet(tuple(images.pairs[int(k)] for k in np.sort(np.concatenate(drawn))))


def evenly_spread(images: ImageSet, count: int) -> tuple[Pair, ...]:
    """So many images at equal distances, from the first to the last; all of them where there are no more."""
    positions = np.linspace(0, len(images) - 1, min(count, len(images))).round()
    return tuple(images.pairs[int(k)] for k in positions)


def centre_crops(images: ImageSet, count: int, side: int) -> ImageSet:
    """Some images, evenly spread, each cut to the ``side`` x ``side`` pixels at its centre; labels and vectors stay as they are."""
    return ImageSet(tuple(_centre_pair(pair, side) for pair in evenly_spread(images, count)))


def centre_crop(picture: Floats, height: int, width: int) -> Floats:
    """(C, height, width) at the centre of a (C, H, W) picture; a side that is shorter stays whole."""
    top, left = max(0, (picture.shape[1] - height) // 2), max(0, (picture.shape[2] - width) // 2)
    return picture[:, top : top + height, left : left + width]


def labels_of(images: ImageSet) -> Ints:
    """(N,) labels of images of a classifier."""
    return np.array([pair.target for pair in images.pairs], np.int64)


def stacked_inputs(model: nn.Module, images: ImageSet) -> Tensor:
    """(N, ...) inputs of all images as one batch, on the device of a network and in its precision.

    Raises:
        UserError: they differ in shape.
    """
    inputs = [pair.input for pair in images.pairs]
    if len({one.shape for one in inputs}) > 1:
        raise UserError("scorer.patch: calibration images of several shapes are left; give a smaller patch, which all of them hold")
    device = next(model.parameters()).device
    return torch.from_numpy(np.stack(inputs)).to(device, precision(model))


def _centre_pair(pair: Pair, side: int) -> Pair:
    if pair.input.ndim != 3 or pair.target.shape[1:] != pair.input.shape[1:]:
        return pair
    return Pair(pair.name, centre_crop(pair.input, side, side), centre_crop(pair.target, side, side))
