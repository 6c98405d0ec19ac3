"""A classification task of one's own, for tests: squares in one of three places of a small noisy image, and networks that tell which."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from qprune_cli.images.memory import MemoryImages
from qprune_cli.types import ImageSet, Pair, Splits
from qprune_cli.weights.checkpoint import load_weights

PLACES = ((1, 1), (1, 4), (4, 2))


def blobs(count, seed, side=8, noise=0.25):
    """Labelled images (1, side, side), every class about equally often."""
    rng = np.random.default_rng(seed)
    pairs = []
    for k in range(count):
        label = int(rng.integers(len(PLACES)))
        image = rng.normal(0.3, noise, size=(1, side, side))
        y, x = PLACES[label]
        image[0, y : y + 3, x : x + 3] += 0.4
        pairs.append(Pair(f"{k}", np.clip(image, 0, 1).astype(np.float32), np.array(label)))
    return ImageSet(tuple(pairs))


@dataclass(frozen=True)
class Blobs:
    """Where they come from."""

    channels: int = 1
    side: int = 8
    classes: int = 3
    images: int = 48
    loss: str = "cross_entropy"

    @property
    def task(self) -> str:
        return "classify"

    def load(self, seed: int) -> Splits:
        train, calibration, refinement = (blobs(n, [part, seed], self.side) for part, n in enumerate((200, self.images, self.images)))
        return Splits(MemoryImages(train), calibration, refinement, self.test(), "classify")

    def test(self) -> ImageSet:
        return blobs(60, 9, self.side)


@dataclass(frozen=True)
class Reader:
    """A network that tells them apart: linear layers, or convolutions before one."""

    channels: int = 1
    side: int = 8
    classes: int = 3
    convolutions: bool = False
    weights: str | None = None
    keep_layers: tuple[str, ...] = ()
    wrap: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        return "classify"

    @property
    def trained(self) -> bool:
        return self.weights is not None

    def build(self) -> nn.Module:
        if not self.convolutions:
            return nn.Sequential(
                *(nn.Flatten(), nn.Linear(self.channels * self.side**2, 12), nn.ReLU()),
                *(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, self.classes)),
            )
        left = (self.side - 2) // 2 - 2
        return nn.Sequential(
            *(nn.Conv2d(self.channels, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(8 * left**2, 10), nn.ReLU(), nn.Linear(10, self.classes)),
        )

    def load(self) -> nn.Module:
        return load_weights(self)


def reader(**settings):
    """The network of a ``Reader``, as a factory."""
    return Reader(**settings).build()


def taught(convolutions, steps=60):
    """A network that was trained for a moment."""
    torch.manual_seed(0)
    model, images = Reader(convolutions=convolutions).build(), blobs(200, 5)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    (image, label) = (torch.from_numpy(part) for part in next(images.batches(len(images))))
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(image), label).backward()
        optimizer.step()
    return model.eval()
