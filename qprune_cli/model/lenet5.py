"""LeNet-5: two convolutions with pooling, then three linear layers.

References:
    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", Proceedings of the IEEE 86(11), 1998.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from qprune_cli.layers.classifier import POOLS, check_classifier, check_pool, he_init_
from qprune_cli.weights.checkpoint import absolute_weights, load_weights


class LeNet5Network(nn.Module):
    """The network that ``LeNet5`` builds; see there for the settings."""

    def __init__(self, channels: int, side: int, classes: int, pool: str) -> None:
        super().__init__()
        first, second = paddings(side)
        rest = ((side + 2 * first - 4) // 2 + 2 * second - 4) // 2  # side of what the linear layers read
        self.features = nn.Sequential(
            *(nn.Conv2d(channels, 6, 5, padding=first), nn.ReLU(), POOLS[pool](2)),
            *(nn.Conv2d(6, 16, 5, padding=second), nn.ReLU(), POOLS[pool](2)),
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(16 * rest**2, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes)
        )

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, side, side) -> (N, classes) before the softmax."""
        scores: Tensor = self.head(self.features(image))
        return scores


def paddings(side: int) -> tuple[int, int]:
    """Pixels that pad the image for each convolution: none from 32 on, the first only below, both below 16."""
    return (0 if side >= 32 else 2), (0 if side >= 16 else 2)


@dataclass(frozen=True)
class LeNet5:
    """LeNet-5: 6 and 16 convolutions of 5 x 5, each with ReLU and pooling, linear layers of 120 and 84, one score per class.

    On images of 32 x 32, or of 28 x 28 that the first convolution pads to them, it has 61,706 parameters with 10 classes. As
    published are the layers and their widths. Ours, and common, are: ReLU for squashing functions, pooling without parameters,
    a second convolution that reads all six maps, and a linear output in place of radial functions. Images under 16 pixels are
    ours altogether: both convolutions pad them, so that 8 x 8 leave 2 x 2 for the linear layers.

    Args:
        channels: 1 for grey, 3 for colour images.
        side: height and width of the images.
        classes: what to tell apart.
        pool: ``average``, as published, or ``max``.
        weights: name of a checkpoint that ships with qprune, or path of a .safetensors file; None for fresh weights (to train).
        keep_layers: layers whose filters all stay: qualified names, or patterns such as ``encoder.*``.
        wrap: black boxes that are kept whole (see ``trace``).

    Example:
        >>> sum(p.numel() for p in LeNet5().build().parameters())
        61706
    """

    task: ClassVar[str] = "classify"
    channels: int = 1
    side: int = 28
    classes: int = 10
    pool: str = "average"
    weights: str | None = None
    keep_layers: tuple[str, ...] = ()
    wrap: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_classifier(self.channels, self.side, self.classes)
        check_pool(self.pool)
        object.__setattr__(self, "weights", absolute_weights(self.weights))

    @property
    def trained(self) -> bool:
        """Whether the settings name a checkpoint."""
        return self.weights is not None

    def build(self) -> nn.Module:
        """Make the network with fresh weights (He's initialisation)."""
        return he_init_(LeNet5Network(self.channels, self.side, self.classes, self.pool))

    def load(self) -> nn.Module:
        """Make the network with the weights of the checkpoint, ready to evaluate; for errors see ``load_weights``."""
        return load_weights(self)
