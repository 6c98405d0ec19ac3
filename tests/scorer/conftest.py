"""A network small enough to score by hand."""

import numpy as np
import torch
from torch import nn

from qprune_cli.graph.trace import trace
from qprune_cli.types import ImageSet, Pair, Splits


def three_filters():
    """One image of one pixel, 0.5; three filters 1, 2, -1 times it, summed; clean value 1."""
    model = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.ReLU(), nn.Conv2d(3, 1, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 2.0, -1.0]).view(3, 1, 1, 1))
        model[2].weight.fill_(1)
    pair = Pair("a", np.full((1, 1, 1), 0.5, np.float32), np.ones((1, 1, 1), np.float32))
    images = ImageSet((pair,))
    return model, trace(model), Splits(None, images, images, images)
