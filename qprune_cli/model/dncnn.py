"""DnCNN: a plain stack of convolutions that predicts the noise.

References:
    Zhang, Zuo, Chen, Meng, Zhang, "Beyond a Gaussian denoiser: residual learning of deep CNN for image denoising",
    IEEE Transactions on Image Processing 26(7), 2017, arXiv:1608.03981.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from qprune_cli.errors import UserError
from qprune_cli.weights.checkpoint import absolute_weights, check_channels, load_weights


class DnCNNNetwork(nn.Module):
    """The network that ``DnCNN`` builds; see there for the settings."""

    def __init__(self, channels: int, width: int, depth: int, batchnorm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers.append(nn.Conv2d(width, width, 3, padding=1, bias=not batchnorm))
            layers += [nn.BatchNorm2d(width), nn.ReLU()] if batchnorm else [nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, H, W) noisy -> (N, channels, H, W) clean."""
        noise: Tensor = self.body(image)
        return image - noise


@dataclass(frozen=True)
class DnCNN:
    """DnCNN: ``depth`` 3 x 3 convolutions of ``width`` channels; the output is subtracted from the noisy image.

    With 17 layers of 64 channels and BatchNorm, as published, it has 556,097 parameters on grey images (555,137 without).

    Args:
        channels: 1 for grey, 3 for colour images.
        width: channels of every hidden layer.
        depth: number of convolutions.
        batchnorm: normalise every hidden layer but the first, as published; without it layers have a bias instead.
        weights: name of a checkpoint that ships with qprune, or path of a .safetensors file; None for fresh
            weights (to train).
        keep_layers: layers whose filters all stay: qualified names, or patterns such as ``encoder.*``.
        wrap: black boxes that are kept whole (see ``trace``).

    Example:
        >>> sum(p.numel() for p in DnCNN(channels=1, width=64, depth=17).build().parameters())
        555137
    """

    channels: int = 3
    width: int = 48
    depth: int = 12
    batchnorm: bool = False
    weights: str | None = None
    keep_layers: tuple[str, ...] = ()
    wrap: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_channels(self.channels)
        if self.width < 1:
            raise UserError(f"model.width={self.width}: give a number of channels, at least 1")
        if self.depth < 2:
            raise UserError(f"model.depth={self.depth}: give a number of convolutions, at least 2")
        object.__setattr__(self, "weights", absolute_weights(self.weights))

    @property
    def trained(self) -> bool:
        """Whether the settings name a checkpoint."""
        return self.weights is not None

    def build(self) -> nn.Module:
        """Make the network with fresh weights (He initialisation, as published)."""
        network = DnCNNNetwork(self.channels, self.width, self.depth, self.batchnorm)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(network.body[-1].weight, std=1e-3)  # type: ignore[arg-type]  # starts as the identity
        return network

    def load(self) -> nn.Module:
        """Make the network with the weights of the checkpoint, ready to evaluate; for errors see ``load_weights``."""
        return load_weights(self)
