"""A network that was trained elsewhere, from its .pth file to a smaller one: DnCNN for grey images with Gaussian noise (sigma 25).

The checkpoint is ``dncnn_25.pth`` of KAIR (MIT, https://github.com/cszn/KAIR): 17 convolutions of 64 channels, the noise predicted.
Photographs that ship with scikit-image get white Gaussian noise; four are scored on, two others tested on. Every sparsity is
one ``qprune run model=custom``; the smaller network that it saved is loaded again by a fresh process, which sees neither the
checkpoint nor this script's data, and denoises one image.

    python scripts/custom.py --checkpoint dncnn_25.pth --json custom.json
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import skimage
from PIL import Image
from skimage.color import rgb2gray
from torch import Tensor, nn

from qprune_cli import cli
from qprune_cli.images.crops import blocks
from qprune_cli.images.image import read_image

SCORED = ("astronaut.png", "rocket.jpg", "hubble_deep_field.jpg", "retina.jpg")
TESTED = ("coffee.png", "chelsea.png")
SIGMA, SIDE = 25 / 255, 256
BLOCKS = {"tiny": 1, "cpu": 6, "gpu": 6}
SPARSITIES = {"tiny": (0.3,), "cpu": (0.1, 0.2, 0.3, 0.5), "gpu": (0.1, 0.2, 0.3, 0.5)}
FRESH = """
import sys, torch, numpy as np, qprune_cli as qp
from pathlib import Path
run = qp.load_run(sys.argv[1])
program = torch.export.load(Path(sys.argv[1]) / "model.pt2").module()
image = torch.rand(1, 1, 61, 90, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    first, second = run.model(image), program(image)
print(sum(p.numel() for p in run.model.parameters()), float((first - second).abs().max()), bool(torch.isfinite(first).all()))
"""


class DnCNN17(nn.Module):
    """The network as its authors write it; gives the noise."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(15):
            layers += [nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(inplace=True)]
        self.model = nn.Sequential(*layers, nn.Conv2d(64, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) noisy -> (N, 1, H, W) noise."""
        return self.model(x)


def write_pairs(folder: Path, names: tuple[str, ...], count: int, seed: int) -> None:
    """Blocks of grey photographs, clean and with noise, as 16-bit PNG."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for name in names:
        picture = rgb2gray(read_image(Path(skimage.__file__).parent / "data" / name, channels=3), channel_axis=0)
        for k, (y, x) in enumerate(blocks(picture.shape, SIDE, count)):
            clean = picture[y, x]
            noisy = clean + rng.normal(0, SIGMA, clean.shape)
            for kind, block in (("clean", clean), ("noisy", noisy)):
                Image.fromarray((np.clip(block, 0, 1) * 65535).round().astype(np.uint16)).save(folder / f"{name}_{k}_{kind}.png")


def pruned(checkpoint: Path, place: Path, sparsity: float, solver: str, seed: int) -> Path:
    """One run."""
    root = place / f"{sparsity}_{solver}_{seed}"
    settings = {
        "model": "custom",
        "model.factory": f"{Path(__file__).absolute()}:DnCNN17",
        "model.checkpoint": checkpoint.absolute(),
        "model.predicts": "noise",
        "model.channels": 1,
        "data": "pairs",
        "data.root": place / "scored",
        "data.test_root": place / "tested",
        "data.shares": "[0,0.6,0.4,0]",
        "data.block_size": SIDE,
        "solver": solver,
        "sparsity": sparsity,
        "seed": seed,
        "output_root": root,
    }
    assert cli.dispatch(["run", *(f"{name}={value}" for name, value in settings.items())]) == 0
    (folder,) = (root / "runs").iterdir()
    return folder


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="dncnn_25.pth of KAIR")
    parser.add_argument("--scale", choices=BLOCKS, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as temporary:
        place = Path(temporary)
        write_pairs(place / "scored", SCORED, BLOCKS[arguments.scale], 0)
        write_pairs(place / "tested", TESTED, BLOCKS[arguments.scale], 1)
        for sparsity in SPARSITIES[arguments.scale]:
            for solver in ("hybrid_qubo", "greedy_taylor", "greedy_l1", "random"):
                seeds = arguments.seeds[:1] if solver == "greedy_l1" else arguments.seeds
                folders = [pruned(arguments.checkpoint, place, sparsity, solver, seed) for seed in seeds]
                metrics = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
                stages = [one["stages"]["refined"] for one in metrics]
                fresh = subprocess.run([sys.executable, "-c", FRESH, folders[0]], capture_output=True, text=True, check=True, cwd=place)
                params, apart, finite = fresh.stdout.split()
                assert int(params) == stages[0]["params"] and finite == "True", "a fresh process has the same network"
                rows.append(
                    {
                        "sparsity": sparsity,
                        "solver": solver,
                        "noisy": metrics[0]["identity"]["psnr"]["mean"],
                        "dense": metrics[0]["stages"]["dense"]["psnr"]["mean"],
                        "psnr": [stage["psnr"]["mean"] for stage in stages],
                        "params": [stage["params"] for stage in stages],
                        "macs": [stage["macs"] for stage in stages],
                        "program_apart": float(apart),
                    }
                )
    print(f"noisy {rows[0]['noisy']:.2f} dB, dense {rows[0]['dense']:.2f} dB")
    print(f"{'sparsity':>8}  {'solver':<14}{'PSNR':>7}{'range':>16}{'params':>10}{'GMACs':>8}{'.pt2 apart':>12}")
    for row in rows:
        low, high = min(row["psnr"]), max(row["psnr"])
        print(
            f"{row['sparsity']:>8}  {row['solver']:<14}{np.mean(row['psnr']):>7.2f}{f'{low:.2f} to {high:.2f}':>16}"
            f"{np.mean(row['params']):>10,.0f}{np.mean(row['macs']) / 1e9:>8.2f}{row['program_apart']:>12.1e}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
