"""U-Net: an encoder and a decoder with concatenated skip connections.

References:
    Ronneberger, Fischer, Brox, "U-Net: convolutional networks for biomedical image segmentation", MICCAI 2015,
    arXiv:1505.04597.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qprune_cli.errors import UserError
from qprune_cli.layers.padding import cropped, padded
from qprune_cli.weights.checkpoint import absolute_weights, check_channels, load_weights


class UNetNetwork(nn.Module):
    """The network that ``UNet`` builds; see there for the settings. Images of any size are padded inside."""

    def __init__(self, channels: int, width: int, depth: int, residual: bool) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        self.encoder = nn.ModuleList(_double(c, w) for c, w in zip([channels, *widths], widths, strict=False))
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths[-2::-1])
        self.decoder = nn.ModuleList(_double(2 * w, w) for w in widths[-2::-1])
        self.head = nn.Conv2d(width, channels, 1)
        self.multiple = 2 ** (depth - 1)
        self.residual = residual

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, H, W) noisy -> (N, channels, H, W) clean."""
        x = self.encoder[0](padded(image, self.multiple))
        skips = []
        for stage in self.encoder[1:]:
            skips.append(x)
            x = stage(self.pool(x))
        for up, stage, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            x = stage(torch.cat([skip, up(x)], dim=1))
        out = cropped(self.head(x), image)
        return image + out if self.residual else out


def _double(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3 x 3 convolutions with ReLU."""
    first, second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


@dataclass(frozen=True)
class UNet:
    """U-Net: ``depth`` scales, each with twice the channels of the one above, joined by concatenation.

    With 64 channels and 5 scales it has 31.03 M parameters on grey images. Convolutions are padded, so the output has the
    size of the input; the residual connection around it is ours and holds no parameters.

    Args:
        channels: 1 for grey, 3 for colour images.
        width: channels at full resolution.
        depth: number of scales.
        residual: predict the correction of the noisy image rather than the clean image.
        weights: path of a .safetensors file; None for fresh weights (to train).
        keep_layers: layers whose filters all stay: qualified names, or patterns such as ``encoder.*``.
        wrap: black boxes that are kept whole (see ``trace``).

    Example:
        >>> sum(p.numel() for p in UNet(channels=1, width=64, depth=5).build().parameters())
        31030593
    """

    channels: int = 3
    width: int = 24
    depth: int = 4
    residual: bool = True
    weights: str | None = None
    keep_layers: tuple[str, ...] = ()
    wrap: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_channels(self.channels)
        if self.width < 1:
            raise UserError(f"model.width={self.width}: give a number of channels, at least 1")
        if not 1 <= self.depth <= 8:
            raise UserError(f"model.depth={self.depth}: give 1 to 8 scales")
        object.__setattr__(self, "weights", absolute_weights(self.weights))

    @property
    def trained(self) -> bool:
        """Whether the settings name a checkpoint."""
        return self.weights is not None

    def build(self) -> nn.Module:
        """Make the network with fresh weights (PyTorch's default initialisation)."""
        return UNetNetwork(self.channels, self.width, self.depth, self.residual)

    def load(self) -> nn.Module:
        """Make the network with the weights of the checkpoint, ready to evaluate; for errors see ``load_weights``."""
        return load_weights(self)
