"""What each part of the simulated camera gives: one small network per part left out, judged on real photographs.

    QPRUNE_REAL_DATA=FOLDER python scripts/camera.py --seeds 0 1 2 --json outputs/camera.json

Every network is trained on the sample with another camera, by the same recipe and seed, and tested on what it never saw: the two
folders of real pairs below QPRUNE_REAL_DATA/sidd_native (train/, val/; each of <name>_noisy.png and <name>_gt.png), and the sample's
own test images as the full camera takes them. Differences are paired, image by image, after the mean over seeds.
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from checkpoints import test_sets  # the script beside this one
from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.evaluate.interval import ci95
from qprune_cli.evaluate.quality import judge, outputs
from qprune_cli.run.plan import RunPlan, TrainPlan
from qprune_cli.run.train import train
from qprune_cli.types import Floats

FULL = "full camera"
PARTS: dict[str, list[str]] = {
    FULL: [],
    "no mosaic: noise is white": ["data.camera.mosaic=false"],
    "no lens": ["data.camera.blur=[0,0]"],
    "no colour matrix": ["data.camera.colour=[0,0]"],
    "one phone: no ranges": ["data.camera.colour=[0.3,0.3]", "data.camera.correction=[0.65,0.65]", "data.camera.white_balance=[1.7,1.7]"],
    "row offsets as well": ["data.camera.offset=0.05"],
    "no rounding to 8 bits": ["data.camera.quantised=false"],
    "no second scale": ["data.scales=[]"],
    "no other colours": ["data.recolour=false"],
}
SCALES = {
    "tiny": ["model.width=8", "model.depth=3", "train.steps=20", "train.validate_every=20"],
    "cpu": ["model.width=16", "model.depth=4", "train.crop=48", "train.steps=800", "train.validate_every=400"],
    "gpu": ["device=cuda", "train.steps=20000", "train.validate_every=1000"],
}
RECIPE = ["model=half_unet", "train.loss=psnr", "train.lr=0.002", "train.precision=bfloat16"]


def trained(overrides: list[str], seed: int) -> Any:
    """Train one network; its folder is thrown away."""
    with TemporaryDirectory() as folder:
        settings = [*RECIPE, *overrides, f"train.seed={seed}", f"output_root={folder}"]
        plan = TrainPlan.of(compose_jobs("train", settings).jobs[0])
        weights = train(plan) / "model.safetensors"
        sizes = [override for override in settings if override.startswith("model")]
        return RunPlan.of(compose_jobs("run", [*sizes, f"model.weights={weights}"]).jobs[0]).model.load()


def cell(values: Floats, full: Floats) -> str:
    """Mean PSNR, and the paired difference from the full camera."""
    change = values - full
    low, high = ci95(change)
    paired = "" if values is full else f" ({change.mean():+.2f} [{low:+.2f}, {high:+.2f}])"
    return f"{values.mean():.2f}{paired}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="write the results here as well")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("overrides", nargs="*", help="further settings of the training")
    arguments = parser.parse_intermixed_args()
    sets = test_sets()
    noisy = {name: judge([pair.input for pair in images.pairs], images)["psnr"] for name, images in sets.items()}
    heads = [f"{name} (noisy {noisy[name].mean():.2f})" for name in sets]
    print("| camera | " + " | ".join(heads) + " |\n" + "|---" * (len(sets) + 1) + "|", flush=True)
    found: dict[str, dict[str, Any]] = {}
    for part in arguments.parts:
        start = perf_counter()
        models = [trained([*SCALES[arguments.scale], *PARTS[part], *arguments.overrides], seed) for seed in arguments.seeds]
        found[part] = {name: np.mean([judge(outputs(m, images), images)["psnr"] for m in models], axis=0) for name, images in sets.items()}
        cells = [cell(values, found[arguments.parts[0]][name]) for name, values in found[part].items()]
        print(f"| {part} | " + " | ".join(cells) + f" | {perf_counter() - start:.0f} s", flush=True)
        if arguments.json:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            plain = {p: {name: values.tolist() for name, values in results.items()} for p, results in found.items()}
            arguments.json.write_text(json.dumps({"noisy": {n: v.tolist() for n, v in noisy.items()}, "parts": plain}, indent=2))


if __name__ == "__main__":
    main()
