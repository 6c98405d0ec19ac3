"""MLP: linear layers with ReLU between them, as in the LeNet-300-100 that pruning is often tried on.

References:
    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", Proceedings of the IEEE 86(11), 1998.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from qprune_cli.errors import UserError
from qprune_cli.layers.classifier import check_classifier, he_init_
from qprune_cli.weights.checkpoint import absolute_weights, load_weights


class MLPNetwork(nn.Module):
    """The network that ``MLP`` builds; see there for the settings."""

    def __init__(self, features: int, hidden: tuple[int, ...], classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise((features, *hidden)):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Linear(hidden[-1], classes))

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, side, side) -> (N, classes) before the softmax."""
        scores: Tensor = self.body(image)
        return scores


@dataclass(frozen=True)
class MLP:
    """MLP: the pixels in a row, hidden linear layers with ReLU, and one score per class.

    With hidden layers of 300 and 100 (LeNet-300-100) it has 266,610 parameters on images of 28 x 28; 200, 100, 100 is the other
    shape that is common in the literature. ReLU is ours, the published network has squashing functions.

    Args:
        channels: 1 for grey, 3 for colour images.
        side: height and width of the images.
        classes: what to tell apart.
        hidden: width of each hidden layer.
        weights: name of a checkpoint that ships with qprune, or path of a .safetensors file; None for fresh weights (to train).
        keep_layers: layers whose filters all stay: qualified names, or patterns such as ``encoder.*``.
        wrap: black boxes that are kept whole (see ``trace``).

    Example:
        >>> sum(p.numel() for p in MLP().build().parameters())
        266610
    """

    task: ClassVar[str] = "classify"
    channels: int = 1
    side: int = 28
    classes: int = 10
    hidden: tuple[int, ...] = (300, 100)
    weights: str | None = None
    keep_layers: tuple[str, ...] = ()
    wrap: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_classifier(self.channels, self.side, self.classes)
        if not self.hidden or min(self.hidden) < 1:
            raise UserError(f"model.hidden={list(self.hidden)}: give the width of each hidden layer, at least one layer and 1 each")
        object.__setattr__(self, "weights", absolute_weights(self.weights))

    @property
    def trained(self) -> bool:
        """Whether the settings name a checkpoint."""
        return self.weights is not None

    def build(self) -> nn.Module:
        """Make the network with fresh weights (He's initialisation)."""
        return he_init_(MLPNetwork(self.channels * self.side**2, tuple(self.hidden), self.classes))

    def load(self) -> nn.Module:
        """Make the network with the weights of the checkpoint, ready to evaluate; for errors see ``load_weights``."""
        return load_weights(self)
