"""NAFNet: a U-shaped network without activation functions; gates multiply halves of the channels instead.

References:
    Chen, Chu, Zhang, Sun, "Simple baselines for image restoration", ECCV 2022, arXiv:2204.04676.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qprune_cli.errors import UserError
from qprune_cli.layers.padding import cropped, padded
from qprune_cli.weights.checkpoint import absolute_weights, check_channels, load_weights


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels, at every position."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W) features; the shape stays."""
        normed = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return normed.permute(0, 3, 1, 2)


class SimpleGate(nn.Module):
    """One half of the channels times the other."""

    def forward(self, x: Tensor) -> Tensor:
        """Multiply the halves of (N, 2C, H, W) features to (N, C, H, W)."""
        first, second = x.chunk(2, dim=1)
        return torch.mul(first, second)


class NAFBlock(nn.Module):
    """A gated depthwise part with channel attention, then a gated pointwise part; each is added with a learned scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(width, eps=1e-6)
        self.conv1 = nn.Conv2d(width, 2 * width, 1)
        self.conv2 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.gate = SimpleGate()
        self.attention = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1))
        self.conv3 = nn.Conv2d(width, width, 1)
        self.norm2 = LayerNorm2d(width, eps=1e-6)
        self.conv4 = nn.Conv2d(width, 2 * width, 1)
        self.conv5 = nn.Conv2d(width, width, 1)
        self.beta = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Add both parts to (N, width, H, W) features; the shape stays."""
        gated = self.gate(self.conv2(self.conv1(self.norm1(x))))
        y: Tensor = x + self.conv3(gated * self.attention(gated)) * self.beta
        y = y + self.conv5(self.gate(self.conv4(self.norm2(y)))) * self.gamma
        return y


class NAFNetNetwork(nn.Module):
    """The network that ``NAFNet`` builds; see there for the settings. Images of any size are padded inside."""

    def __init__(self, channels: int, width: int, encoder: tuple[int, ...], middle: int, decoder: tuple[int, ...]) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(len(encoder) + 1)]
        self.intro = nn.Conv2d(channels, width, 3, padding=1)
        self.encoder = nn.ModuleList(_blocks(w, count) for w, count in zip(widths, encoder, strict=False))
        self.down = nn.ModuleList(nn.Conv2d(w, 2 * w, 2, stride=2) for w in widths[:-1])
        self.middle = _blocks(widths[-1], middle)
        self.up = nn.ModuleList(nn.Sequential(nn.Conv2d(w, 2 * w, 1, bias=False), nn.PixelShuffle(2)) for w in widths[:0:-1])
        self.decoder = nn.ModuleList(_blocks(w, count) for w, count in zip(widths[-2::-1], decoder, strict=True))
        self.ending = nn.Conv2d(width, channels, 3, padding=1)
        self.multiple = 2 ** len(encoder)

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, H, W) noisy -> (N, channels, H, W) clean."""
        x, skips = self.intro(padded(image, self.multiple)), []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            x = blocks(x)
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        for blocks, up, skip in zip(self.decoder, self.up, reversed(skips), strict=True):
            x = blocks(up(x) + skip)
        return image + cropped(self.ending(x), image)


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(width) for _ in range(count)))


@dataclass(frozen=True)
class NAFNet:
    """NAFNet: blocks without activations in a U of ``len(encoder)`` scales.

    The published one for SIDD has ``encoder=(2, 2, 4, 8)``, ``middle=12``, ``decoder=(2, 2, 2, 2)`` and 115.98 M parameters at
    width 64, 29.16 M at 32; the published one for GoPro, ``encoder=(1, 1, 1, 28)``, 17.11 M at width 32.

    Args:
        channels: 1 for grey, 3 for colour images.
        width: channels at full resolution; every scale below has twice as many.
        encoder: blocks of each scale on the way down.
        middle: blocks at the lowest scale.
        decoder: blocks of each scale on the way up, the lowest first.
        weights: name of a checkpoint that ships with qprune, or path of a .safetensors file; None for fresh
            weights (to train).
        keep_layers: layers whose filters all stay: qualified names, or patterns such as ``encoder.*``.
        wrap: black boxes that are kept whole (see ``trace``).

    Example:
        >>> model = NAFNet(width=8, encoder=(1, 1), middle=1, decoder=(1, 1)).build()
        >>> tuple(model(torch.zeros(1, 3, 10, 6)).shape)
        (1, 3, 10, 6)
    """

    channels: int = 3
    width: int = 32
    encoder: tuple[int, ...] = (2, 2, 4, 8)
    middle: int = 12
    decoder: tuple[int, ...] = (2, 2, 2, 2)
    weights: str | None = None
    keep_layers: tuple[str, ...] = ()
    wrap: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_channels(self.channels)
        if self.width < 1:
            raise UserError(f"model.width={self.width}: give a number of channels, at least 1")
        if not 1 <= len(self.encoder) == len(self.decoder) <= 8:
            raise UserError(
                f"model.encoder={list(self.encoder)}, model.decoder={list(self.decoder)}: give as many numbers of blocks each, 1 to 8"
            )
        if min(*self.encoder, self.middle, *self.decoder) < 0:
            raise UserError("model.encoder, model.middle, model.decoder: give numbers of blocks, at least 0")
        object.__setattr__(self, "weights", absolute_weights(self.weights))

    @property
    def trained(self) -> bool:
        """Whether the settings name a checkpoint."""
        return self.weights is not None

    def build(self) -> nn.Module:
        """Make the network with fresh weights (PyTorch's default initialisation)."""
        return NAFNetNetwork(self.channels, self.width, tuple(self.encoder), self.middle, tuple(self.decoder))

    def load(self) -> nn.Module:
        """Make the network with the weights of the checkpoint, ready to evaluate; for errors see ``load_weights``."""
        return load_weights(self)
