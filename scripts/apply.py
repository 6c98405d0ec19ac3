"""What tiling adds to an image, how long it takes, and how much memory a 12-megapixel photograph needs.

    python scripts/apply.py --json outputs/apply.json

Half of the filters of every shipped network are pruned, then photographs with simulated noise are denoised as a whole and in tiles. The
photographs are cut to a size for which tiles overlap by no more than they must. In units of 1/255, the largest over all photographs:

    difference   |tiles - whole|
    step         what blending adds between two neighbouring pixels: the change of the weights times the difference of the two tiles
    border       step of (tiles - whole) between two neighbouring pixels where a tile begins or ends
    inside       the same anywhere else

A network that looks at the mean of the whole image (nafnet_narrow) answers differently for a tile, all over the tile, so its
*difference*, *border* and *inside* show that and not the seams; *step* does. *quality* is the PSNR of the tiles minus that of the whole,
in dB; *time* is relative to the whole. With the defaults (tiles of 512 pixels, the overlap chosen) on one CPU thread:

    network         overlap   difference   step   border   inside   quality   time
    half_unet           128         0.22   0.10     0.09     0.36     -0.00    1.2
    dncnn                32         0.00   0.00     0.00     0.00     -0.00    0.8
    nafnet_narrow       128        13.62   0.63     6.47     7.84     -0.09    0.6

A photograph of 4000 x 3000 pixels takes half_unet 0.8 GiB of memory.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import imagecodecs
import numpy as np
import skimage
import torch
from skimage.transform import resize
from torch import nn

from qprune_cli import cli
from qprune_cli.evaluate.quality import psnr
from qprune_cli.images.camera import Camera, to_linear
from qprune_cli.images.image import read_image
from qprune_cli.types import Floats, Pair
from qprune_cli.use.load import load_run
from qprune_cli.use.tiles import Tiling, enough_overlap, tiled

NETWORKS = ("half_unet", "dncnn", "nafnet_narrow")
SIDE = {"tiny": 300, "cpu": 900, "gpu": 900}  # height of what is denoised as a whole, about
LARGE = {"tiny": (600, 800), "cpu": (3000, 4000), "gpu": (3000, 4000)}
TILINGS = {
    "tiny": [(128, None), (128, 32)],
    "cpu": [(512, None), (512, 64), (512, 96), (512, 192), (256, 64), (256, 128)],
}
LEVELS = (0.1, 0.9)  # of light
FIGURES: dict[str, Callable[[list[float]], float]] = dict.fromkeys(("difference", "step", "border", "inside"), max)
FIGURES |= {"quality": min, "time": median}
# On Linux ru_maxrss begins with what the parent held when it started the process; the high-water mark in /proc does not.
WATCH = """
import json, re, resource, sys
from pathlib import Path
from qprune_cli.use.apply import apply
applied = apply(*map(Path, sys.argv[1:]))
status = Path("/proc/self/status")
marks = re.findall(r"VmHWM:\\s+(\\d+)", status.read_text()) if status.exists() else [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]
peak = int(marks[0]) / 2**20
print(json.dumps({"peak_gib": peak, "seconds": applied.seconds, "refused": applied.refused}))
"""


def photograph(size: tuple[int, int], seed: int, level: float) -> Pair:
    """A cup of coffee, scaled up, as the simulated camera sees it; a low level means little light, so much noise."""
    picture = read_image(Path(skimage.__file__).parent / "data" / "coffee.png", channels=3)
    scene: Floats = resize(picture.transpose(1, 2, 0), size, order=1).transpose(2, 0, 1).astype(np.float32)
    return Camera().shoot("coffee", to_linear(scene).astype(np.float32), np.random.default_rng(seed), level)


@torch.inference_mode()
def answers(model: nn.Module, image: Floats, tiling: Tiling) -> dict[tuple[int, int], Floats]:
    """What the network makes of every tile, by its row and column."""
    rows, columns = (tiling.spans(side) for side in image.shape[1:])
    cut = {(i, j): image[None, :, slice(*row), slice(*column)] for i, row in enumerate(rows) for j, column in enumerate(columns)}
    return {place: model(torch.from_numpy(tile))[0].numpy() for place, tile in cut.items()}


def blending_step(model: nn.Module, image: Floats, tiling: Tiling) -> float:
    """The largest step between neighbouring pixels that is due to one tile passing into the next."""
    found, largest = answers(model, image, tiling), 0.0
    for axis in (1, 2):
        spans, weights = tiling.spans(image.shape[axis]), tiling.weights(image.shape[axis])
        for place, first in found.items():
            after = (place[0] + (axis == 1), place[1] + (axis == 2))
            if after not in found:
                continue
            shared = spans[place[axis - 1]][1] - spans[after[axis - 1]][0]
            change = np.diff(weights[after[axis - 1]][:shared], prepend=0)
            ends, begins = np.moveaxis(first, axis, -1)[..., -shared:], np.moveaxis(found[after], axis, -1)[..., :shared]
            largest = max(largest, float((change * np.abs(ends - begins)).max()))
    return 255 * largest


def steps(error: Floats, tiling: Tiling) -> tuple[float, float]:
    """Largest step of an error where tiles begin or end, and elsewhere."""
    borders, others = [0.0], [0.0]
    for axis in (1, 2):
        length = error.shape[axis]
        lines = sorted({place for span in tiling.spans(length) for place in span} - {0, length})
        jumps = np.abs(np.diff(error, axis=axis)).max(axis=(0, 3 - axis))
        at_border = np.isin(np.arange(1, length), lines)
        borders.append(float(jumps[at_border].max(initial=0)))
        others.append(float(jumps[~at_border].max(initial=0)))
    return max(borders), max(others)


def compare(model: nn.Module, tiling: Tiling, seed: int, level: float, side: int) -> dict[str, float]:
    """The figures of one photograph, and the time as a multiple of that of the whole image."""
    stride = tiling.tile - tiling.overlap
    count = max(1, round((side - tiling.tile) / stride))
    pair = photograph((tiling.tile + count * stride, tiling.tile + (count + 1) * stride), seed, level)
    start = perf_counter()
    with torch.inference_mode():
        whole = np.clip(model(torch.from_numpy(pair.input[None]))[0].numpy(), 0, 1)
    middle = perf_counter()
    tiles = np.clip(np.concatenate(list(tiled(model, pair.input, tiling)), axis=1), 0, 1)
    seconds = perf_counter() - middle
    border, inside = steps(255 * (tiles - whole), tiling)
    return {
        "difference": 255 * float(np.abs(tiles - whole).max()),
        "step": blending_step(model, pair.input, tiling),
        "border": border,
        "inside": inside,
        "quality": psnr(tiles, pair.target) - psnr(whole, pair.target),
        "time": seconds / (middle - start),
    }


def memory(run: Path, size: tuple[int, int], place: Path) -> dict[str, Any]:
    """Peak memory of a process of its own that denoises one photograph."""
    (place / "photos").mkdir()
    pixels = np.rint(255 * photograph(size, 0, 0.5).input.transpose(1, 2, 0)).astype(np.uint8)
    (place / "photos" / "coffee.png").write_bytes(imagecodecs.png_encode(pixels.copy()))
    command = [sys.executable, "-c", WATCH, str(run), str(place / "photos"), str(place / "denoised")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode:
        sys.exit(said.stderr)
    found: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SIDE, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the noise, one photograph each")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--json", type=Path, help="write the results here as well")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        for name in arguments.networks:
            cli.dispatch(["run", f"model={name}", "solver=greedy_taylor", "sparsity=0.5", "device=cpu", f"output_root={folder}/{name}"])
        runs = {name: next((Path(folder) / name / "runs").iterdir()) for name in arguments.networks}
        print(f"| network | tile | overlap | {' | '.join(FIGURES)} |\n|---|---|---|{'---|' * len(FIGURES)}")
        for name, run in runs.items():
            model = load_run(run).model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            results[name] = []
            for tile, overlap in TILINGS.get(arguments.scale, TILINGS["cpu"]):
                tiling = Tiling(tile, enough_overlap(model, 3, tile) if overlap is None else overlap)
                rows = [compare(model, tiling, seed, level, SIDE[arguments.scale]) for seed in arguments.seeds for level in LEVELS]
                figures = {key: worst([row[key] for row in rows]) for key, worst in FIGURES.items()}
                results[name].append({"tile": tile, "overlap": tiling.overlap, "chosen": overlap is None} | figures)
                said = f"{tiling.overlap} (chosen)" if overlap is None else overlap
                print(f"| {name} | {tile} | {said} | {' | '.join(f'{value:.3f}' for value in figures.values())} |", flush=True)
        height, width = LARGE[arguments.scale]
        first = next(iter(runs))
        results["memory"] = memory(runs[first], (height, width), Path(folder))
        peak, seconds = results["memory"]["peak_gib"], results["memory"]["seconds"]
        print(f"{first}, {width} x {height} pixels: {peak:.2f} GiB at most, {seconds:.0f} s")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"scale": arguments.scale, "seeds": arguments.seeds, "results": results}, indent=2))


if __name__ == "__main__":
    main()
