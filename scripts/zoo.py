"""Any mask on many kinds of network: how far the smaller network is from the silenced one, and whether its size is what was said.

Prints one row per network and granularity: filters, the operations met, the largest difference between silenced and shrunk
network over random masks (relative to the largest output; float32 and float64), the parameters and MACs that the cost model
says at half of the filters against those that torch counts on the smaller network, and the seconds of trace and shrink (without
what the first use in a process loads of torch, about one second).

    python scripts/zoo.py                       # 100 masks each
    python scripts/zoo.py --scale tiny --json zoo.json
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.cost.cost import Cost, footprint_of
from qprune_cli.graph.graph import operation_name
from qprune_cli.graph.network import Network
from qprune_cli.graph.trace import trace
from qprune_cli.model.dncnn import DnCNN
from qprune_cli.model.half_unet import HalfUNet
from qprune_cli.model.nafnet import NAFNet
from qprune_cli.model.unet import UNet
from qprune_cli.surgery.shrink import shrink
from qprune_cli.surgery.silence import silence

MASKS = {"tiny": 10, "cpu": 100, "gpu": 100}


class Residual(nn.Module):
    """Residual blocks with BatchNorm, a strided one with a 1 x 1 shortcut, and channel attention; a classifier (He et al. 2016)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 2 * width, 1))
        self.head = nn.Linear(2 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 10)."""
        return self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))


class Block(nn.Module):
    """Two convolutions, squeeze and excitation, and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=2, dilation=2, groups=2, bias=False), nn.BatchNorm2d(width)
        self.squeeze, self.excite = nn.Linear(width, width // 4), nn.Linear(width // 4, width)
        self.relu = nn.ReLU(inplace=True)
        same = inputs == width and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, width, H / stride, W / stride)."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        weight = torch.sigmoid(self.excite(torch.relu(self.squeeze(y.mean((2, 3))))))
        y = y * weight.view(weight.size(0), weight.size(1), 1, 1)
        y += self.shortcut(x)
        return self.relu(y)


class REDNet(nn.Module):
    """Eight convolutions, eight transposed ones, and skip additions, written both ways (Mao et al. 2016)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(3 if k == 0 else width, width, 3, stride=2 if k == 3 else 1, padding=1) for k in range(8))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(width, 3 if k == 7 else width, 3, stride=2 if k == 4 else 1, padding=1, output_padding=int(k == 4))
            for k in range(8)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) noisy -> (N, 3, H, W) clean; H and W are even."""
        x, skips = image, []
        for k, conv in enumerate(self.down):
            x = self.relu(conv(x))
            if k % 2:
                skips.append(x)
        skips.pop()
        for k, conv in enumerate(self.up[:-1]):
            x = conv(x)
            if k % 2:
                skip = skips.pop()
                if k == 1:
                    x = x + skip
                else:
                    x += skip
            x = self.relu(x)
        return image + self.up[-1](x)


class LeNet5(nn.Module):
    """LeCun et al. 1998, with ReLU and max pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.pool = nn.MaxPool2d(2)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 28, 28) -> (N, 10)."""
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        x = x.view(-1, 16 * 5 * 5)
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))


def vgg16_bn(width: int = 64) -> nn.Module:
    """VGG-16 with BatchNorm for images of 32 x 32 (Simonyan, Zisserman 2015)."""
    layers: list[nn.Module] = []
    inputs = 3
    for times in (1, 1, 0, 2, 2, 0, 4, 4, 4, 0, 8, 8, 8, 0, 8, 8, 8, 0):
        if times == 0:
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(inputs, times * width, 3, padding=1), nn.BatchNorm2d(times * width), nn.ReLU(inplace=True)]
            inputs = times * width
    hidden = [nn.Linear(8 * width, 8 * width), nn.ReLU(True), nn.Dropout(), nn.Linear(8 * width, 8 * width), nn.ReLU(True), nn.Dropout()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *hidden, nn.Linear(8 * width, 10))


def mlp() -> nn.Module:
    """784-500-300-10, as for MNIST."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 300), nn.BatchNorm1d(300), nn.ReLU(), nn.Linear(300, 10)
    )


class Entry(NamedTuple):
    """A network of the zoo: as it is used, a narrow one for tests, and the shape of an image that it takes."""

    full: Callable[[], nn.Module]
    narrow: Callable[[], nn.Module]
    shape: tuple[int, int, int]


ZOO = {
    "Half-UNet": Entry(lambda: HalfUNet().build(), lambda: HalfUNet(width=6, depth=3).build(), (3, 20, 26)),
    "Half-UNet Ghost": Entry(lambda: HalfUNet(ghost=True).build(), lambda: HalfUNet(width=6, depth=3, ghost=True).build(), (3, 20, 26)),
    "DnCNN": Entry(
        lambda: DnCNN(width=64, depth=17, batchnorm=True).build(), lambda: DnCNN(width=6, depth=5, batchnorm=True).build(), (3, 20, 26)
    ),
    "U-Net": Entry(lambda: UNet().build(), lambda: UNet(width=4, depth=3).build(), (3, 20, 26)),
    "residual BatchNorm": Entry(lambda: Residual(64), lambda: Residual(8), (3, 20, 26)),
    "NAFNet": Entry(lambda: NAFNet().build(), lambda: NAFNet(width=4, encoder=(1, 1), middle=1, decoder=(1, 1)).build(), (3, 20, 26)),
    "REDNet": Entry(lambda: REDNet(64), lambda: REDNet(5), (3, 20, 26)),
    "VGG-16-BN": Entry(vgg16_bn, lambda: vgg16_bn(4), (3, 32, 32)),
    "LeNet-5": Entry(LeNet5, LeNet5, (1, 28, 28)),
    "MLP": Entry(mlp, mlp, (1, 28, 28)),
}


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every weight and statistic a value that is not special, so that nothing is equal by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if (tensor.is_floating_point() and tensor.dim() <= 1) or not tensor.any():
                noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64).to(tensor.dtype)
                tensor.copy_(noise + 0.5 if name.endswith("running_var") or name.endswith("weight") else noise - 0.4)
    return model.eval()


def difference(model: nn.Module, small: nn.Module, layout, keep, image: Tensor) -> float:  # type: ignore[no-untyped-def]
    """Largest difference between silenced and shrunk network, relative to the largest output."""
    with torch.no_grad():
        with silence(model, layout, keep):
            silenced = model(image)
        return float((small(image) - silenced).abs().max() / silenced.abs().max())


def measured(name: str, granularity: str, masks: int) -> dict[str, object]:
    """One row of the table."""
    entry = ZOO[name]
    model = shaken(entry.full())
    image = torch.rand(2, *entry.shape, generator=torch.Generator().manual_seed(1))
    start = perf_counter()
    layout = trace(model, image, granularity)
    traced = perf_counter() - start
    rng = np.random.default_rng(0)
    shares = rng.uniform(0.05, 0.95, masks)
    keeps = [rng.uniform(size=layout.n) < share for share in shares]
    half = rng.permutation(layout.n) < layout.n // 2
    start = perf_counter()
    small = shrink(model, layout, half)
    shrunk = perf_counter() - start
    said, found = Cost(model, layout, entry.shape).footprint(half), footprint_of(small, entry.shape)
    single = max(difference(model, shrink(model, layout, keep), layout, keep, image) for keep in keeps)
    model, image = model.double(), image.double()
    double = max(difference(model, shrink(model, layout, keep), layout, keep, image) for keep in keeps)
    network = Network(model, layout.shape)
    met = {
        operation_name(operation.node, network.graph.modules)
        for operation in network.operations.values()
        if operation.node.op.startswith("call")
    }
    return {
        "network": name,
        "granularity": granularity,
        "filters": int(layout.sizes.sum()),
        "variables": layout.n,
        "operations": sorted(met),
        "float32": single,
        "float64": double,
        "params_said": said.params,
        "params_counted": found.params,
        "macs_said": said.macs,
        "macs_counted": found.macs,
        "trace_s": traced,
        "shrink_s": shrunk,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=MASKS, default="cpu")
    parser.add_argument("--seeds", type=int, default=1, help="accepted for uniformity: the masks are many already")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    trace(mlp(), torch.zeros(1, 1, 28, 28))  # the first use in a process loads parts of torch, for about a second
    trace(nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1)))
    print(
        f"{'network':<20}{'granularity':<12}{'filters':>8}{'float32':>10}{'float64':>10}{'params':>12}{'MACs':>14}{'trace':>8}{'shrink':>8}"
    )
    for name in ZOO:
        for granularity in ("filter", "group"):
            row = measured(name, granularity, MASKS[arguments.scale])
            rows.append(row)
            same = ["=" if row[f"{what}_said"] == row[f"{what}_counted"] else "DIFFERS" for what in ("params", "macs")]
            print(
                f"{name:<20}{granularity:<12}{row['filters']:>8,}{row['float32']:>10.1e}{row['float64']:>10.1e}"
                f"{row['params_counted']:>11,}{same[0]}{row['macs_counted']:>13,}{same[1]}{row['trace_s']:>7.2f}s{row['shrink_s']:>7.2f}s"
            )
        print(f"{'':<20}{', '.join(row['operations'])}")  # type: ignore[arg-type]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
