"""VGG-16 for small images: thirteen convolutions with BatchNorm, one hidden linear layer.

References:
    Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015, arXiv:1409.1556.
    ElAraby, Wolf, Carvalho, "Identifying efficient sub-networks using mixed integer programming", OPT 2020.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from qprune_cli.errors import UserError
from qprune_cli.layers.classifier import POOLS, check_classifier, check_pool, he_init_
from qprune_cli.weights.checkpoint import absolute_weights, load_weights

STAGES = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))  # width of each stage relative to the first, and its convolutions


class VGG16Network(nn.Module):
    """The network that ``VGG16`` builds; see there for the settings."""

    def __init__(self, channels: int, side: int, classes: int, width: int, hidden: int, pool: str, affine: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for factor, convolutions in STAGES:
            for _ in range(convolutions):
                outputs = factor * width
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs, affine=affine), nn.ReLU()]
                inputs = outputs
            if side > 1:
                layers.append(POOLS[pool](2))
                side //= 2
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(inputs * side**2, hidden), nn.ReLU(), nn.Linear(hidden, classes))

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, side, side) -> (N, classes) before the softmax."""
        scores: Tensor = self.head(self.features(image))
        return scores


@dataclass(frozen=True)
class VGG16:
    """VGG-16 for small images: 3 x 3 convolutions in five stages that pooling halves, a hidden linear layer, one score per class.

    With 64 channels in the first stage and a hidden layer of 512 it has 14,986,698 parameters on colour images of 32 x 32. The
    convolutions are as published; BatchNorm behind them (which takes the place of their biases) and one hidden layer of 512 for
    two of 4096 are what is common on CIFAR-10. Images under 32 pixels are pooled until one pixel is left.

    Args:
        channels: 1 for grey, 3 for colour images.
        side: height and width of the images.
        classes: what to tell apart.
        width: channels of the first stage; the others have 2, 4, 8 and 8 times as many.
        hidden: width of the hidden linear layer.
        pool: ``max``, as published, or ``average``.
        affine: whether BatchNorm learns a scale and a shift.
        weights: path of a .safetensors file; None for fresh weights (to train).
        keep_layers: layers whose filters all stay: qualified names, or patterns such as ``encoder.*``.
        wrap: black boxes that are kept whole (see ``trace``).

    Example:
        >>> sum(p.numel() for p in VGG16().build().parameters())
        14986698
    """

    task: ClassVar[str] = "classify"
    channels: int = 3
    side: int = 32
    classes: int = 10
    width: int = 64
    hidden: int = 512
    pool: str = "max"
    affine: bool = True
    weights: str | None = None
    keep_layers: tuple[str, ...] = ()
    wrap: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_classifier(self.channels, self.side, self.classes)
        check_pool(self.pool)
        if self.width < 1:
            raise UserError(f"model.width={self.width}: give a number of channels, at least 1")
        if self.hidden < 1:
            raise UserError(f"model.hidden={self.hidden}: give the width of the hidden layer, at least 1")
        object.__setattr__(self, "weights", absolute_weights(self.weights))

    @property
    def trained(self) -> bool:
        """Whether the settings name a checkpoint."""
        return self.weights is not None

    def build(self) -> nn.Module:
        """Make the network with fresh weights (He's initialisation)."""
        network = VGG16Network(self.channels, self.side, self.classes, self.width, self.hidden, self.pool, self.affine)
        return he_init_(network)

    def load(self) -> nn.Module:
        """Make the network with the weights of the checkpoint, ready to evaluate; for errors see ``load_weights``."""
        return load_weights(self)
