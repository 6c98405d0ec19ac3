"""Half-UNet: a U-Net whose decoder is a sum.

References:
    Lu, She, Tie, Xu, "Half-UNet: a simplified U-Net architecture for medical image segmentation", Frontiers in
    Neuroinformatics 16:911679, 2022.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qprune_cli.errors import UserError
from qprune_cli.layers.padding import cropped, padded
from qprune_cli.weights.checkpoint import absolute_weights, check_channels, load_weights


class ConvReLU(nn.Sequential):
    """3 x 3 convolution with bias, then ReLU."""

    def __init__(self, inputs: int, outputs: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups)
        self.act = nn.ReLU()


class Ghost(nn.Module):
    """Half of the channels by a convolution, the other half by a depthwise convolution of the first."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.primary = ConvReLU(inputs, outputs // 2)
        self.cheap = ConvReLU(outputs // 2, outputs // 2, groups=outputs // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) features to (N, outputs, H, W)."""
        primary = self.primary(x)
        return torch.cat([primary, self.cheap(primary)], dim=1)


class HalfUNetNetwork(nn.Module):
    """The network that ``HalfUNet`` builds; see there for the settings. Images of any size are padded inside."""

    def __init__(self, channels: int, width: int, depth: int, ghost: bool, residual: bool) -> None:
        super().__init__()
        block = Ghost if ghost else ConvReLU
        inputs = [channels] + [width] * (depth - 1)
        self.encoder = nn.ModuleList(nn.Sequential(block(c, width), block(width, width)) for c in inputs)
        self.pool = nn.MaxPool2d(2)
        self.decoder = nn.Sequential(block(width, width), block(width, width))
        self.head = nn.Conv2d(width, channels, 1)
        self.multiple = 2 ** (depth - 1)
        self.residual = residual

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, H, W) noisy -> (N, channels, H, W) clean."""
        fused = x = self.encoder[0](padded(image, self.multiple))
        for level, stage in enumerate(self.encoder[1:], start=1):
            x = stage(self.pool(x))
            fused = fused + F.interpolate(x, scale_factor=2.0**level, mode="bilinear")
        out = cropped(self.head(self.decoder(fused)), image)
        return image + out if self.residual else out


@dataclass(frozen=True)
class HalfUNet:
    """Half-UNet: an encoder of ``depth`` stages whose outputs are up-sampled and added, then two convolutions.

    With 64 channels and 5 stages it has 408,195 parameters (plain) or 208,035 (Ghost) on colour images, 406,913 or
    207,329 on grey ones, as published. The residual connection around it is ours and holds no parameters.

    Args:
        channels: 1 for grey, 3 for colour images.
        width: channels of every stage.
        depth: number of stages; each halves the resolution.
        ghost: Ghost modules in place of plain convolutions.
        residual: predict the correction of the noisy image rather than the clean image.
        weights: name of a checkpoint that ships with qprune, or path of a .safetensors file; None for fresh
            weights (to train).
        keep_layers: layers whose filters all stay: qualified names, or patterns such as ``encoder.*``.
        wrap: black boxes that are kept whole (see ``trace``).

    Example:
        >>> sum(p.numel() for p in HalfUNet(channels=1, ghost=True).build().parameters())
        207329
    """

    channels: int = 3
    width: int = 64
    depth: int = 5
    ghost: bool = False
    residual: bool = True
    weights: str | None = None
    keep_layers: tuple[str, ...] = ()
    wrap: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_channels(self.channels)
        if self.width < 2 or (self.ghost and self.width % 2):
            raise UserError(f"model.width={self.width}: give at least 2 channels, an even number with model.ghost=true")
        if not 1 <= self.depth <= 8:
            raise UserError(f"model.depth={self.depth}: give 1 to 8 stages")
        object.__setattr__(self, "weights", absolute_weights(self.weights))

    @property
    def trained(self) -> bool:
        """Whether the settings name a checkpoint."""
        return self.weights is not None

    def build(self) -> nn.Module:
        """Make the network with fresh weights (PyTorch's default initialisation)."""
        return HalfUNetNetwork(self.channels, self.width, self.depth, self.ghost, self.residual)

    def load(self) -> nn.Module:
        """Make the network with the weights of the checkpoint, ready to evaluate; for errors see ``load_weights``."""
        return load_weights(self)
