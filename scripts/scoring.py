"""What a scoring pass costs beside a plain forward and backward pass over the same images: time and peak memory.

    python scripts/scoring.py --json outputs/scoring.json

The scoring pass (``gate_statistics``) gives everything that any gradient scorer asks for. "training" is the plain pass whose
weights get gradients, "input" the cheapest one, whose input alone does. The three take turns, and medians are compared. Memory is
what a pass adds at its peak to the resident memory of a fresh process that has loaded network and images; on a GPU to what
torch has allocated.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from qprune_cli.calibration.gates import gate_statistics
from qprune_cli.calibration.loss import losses_of
from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.device import pick_device
from qprune_cli.graph.trace import trace
from qprune_cli.types import ImageSet, Layout

MODELS = ("half_unet", "dncnn", "nafnet_narrow")
SCALES = {"tiny": (8, 32, 3, "cpu"), "cpu": (16, 64, 15, "cpu"), "gpu": (128, 128, 15, "cuda")}  # images, side, repeats, device
MEMORY = (16, 128)  # images
BATCH = 8


def prepared(name: str, images: int, side: int, device: str, seed: int) -> tuple[nn.Module, Layout, ImageSet]:
    """Network, layout and calibration images."""
    plan = compose_jobs("run", [f"model={name}", "data=sample", f"data.crops={images}", f"data.crop_size={side}"]).jobs[0]
    model = plan.component("model").load().to(pick_device(device))
    return model, trace(model), ImageSet(tuple(plan.component("data").load(seed).calibration.pairs))


def plain_pass(model: nn.Module, images: ImageSet, weights: bool) -> None:
    """One forward and backward pass; the weights get gradients, or else the input."""
    device = next(model.parameters()).device
    model.requires_grad_(weights)
    for noisy, clean in images.batches(BATCH):
        given = torch.from_numpy(noisy).to(device).requires_grad_(not weights)
        losses_of("psnr", model(given), torch.from_numpy(clean).to(device)).sum().backward()
    model.zero_grad()
    model.requires_grad_(True)


def seconds(task: Callable[[], object], device: str) -> float:
    """How long a task takes."""
    start = perf_counter()
    task()
    if device == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - start


def times(name: str, images: int, side: int, repeats: int, device: str, seed: int) -> dict[str, Any]:
    """Median seconds of the three passes, in turn, after one round that does not count."""
    model, layout, shown = prepared(name, images, side, device, seed)
    tasks: dict[str, Callable[[], object]] = {
        "training": lambda: plain_pass(model, shown, weights=True),
        "input": lambda: plain_pass(model, shown, weights=False),
        "scoring": lambda: gate_statistics(model, layout, shown, "psnr", BATCH),
    }
    rounds = [{kind: seconds(task, device) for kind, task in tasks.items()} for _ in range(repeats + 1)][1:]
    median = {kind: float(np.median([one[kind] for one in rounds])) for kind in tasks}
    against = {f"against_{kind}": median["scoring"] / median[kind] for kind in ("training", "input")}
    return {"model": name, "seed": seed, "filters": layout.n, "seconds": median} | against


def peak(kind: str, name: str, images: int, side: int, device: str, seed: int) -> float:
    """MiB that a pass adds at its peak to the memory of this process."""
    model, layout, shown = prepared(name, images, side, device, seed)
    before = allocated(device)
    if kind == "scoring":
        gate_statistics(model, layout, shown, "psnr", BATCH)
    else:
        plain_pass(model, shown, weights=True)
    return allocated(device, most=True) - before


def allocated(device: str, most: bool = False) -> float:
    """MiB in use, or the most since this was last asked."""
    if device == "cuda":
        return (torch.cuda.max_memory_allocated() if most else torch.cuda.memory_allocated()) / 2**20
    values = dict(entry.split(":", 1) for entry in Path("/proc/self/status").read_text().splitlines())
    if not most:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of loading
    return int(values["VmHWM" if most else "VmRSS"].split()[0]) / 2**10


def fresh_peak(*values: object) -> float:
    """The same, of a fresh process."""
    command = [sys.executable, __file__, "--peak", *(str(value) for value in values)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def measure(name: str, scale: str, seed: int) -> dict[str, Any]:
    """Time and memory for one network."""
    images, side, repeats, device = SCALES[scale]
    found = times(name, images, side, repeats, device, seed)
    kinds = [(kind, count) for kind in ("training", "scoring") for count in MEMORY]
    return found | {"peak_mib": {f"{kind}_{count}": fresh_peak(kind, name, count, side, device, seed) for kind, count in kinds}}


def line(found: dict[str, Any]) -> str:
    """One line of the table."""
    milliseconds = " | ".join(f"{found['seconds'][kind] * 1e3:.0f}" for kind in ("training", "input", "scoring"))
    peaks = " | ".join(" / ".join(f"{found['peak_mib'][f'{kind}_{count}']:.0f}" for count in MEMORY) for kind in ("training", "scoring"))
    return (
        f"| {found['model']} | {found['seed']} | {found['filters']} | {milliseconds} | {found['against_training']:.2f} "
        f"| {found['against_input']:.2f} | {peaks} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the calibration crops")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    parser.add_argument("--peak", nargs=6, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        kind, name, images, side, device, seed = arguments.peak
        print(peak(kind, name, int(images), int(side), device, int(seed)))
        return
    images, side, _, device = SCALES[arguments.scale]
    print(f"{images} images of {side} x {side}, {BATCH} at once, {device}, {torch.get_num_threads()} threads")
    print(f"peak memory is that of {' / '.join(map(str, MEMORY))} images\n")
    print("| model | seed | filters | training, ms | input, ms | scoring, ms | / training | / input | training, MiB | scoring, MiB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    results = []
    for name in tqdm(MODELS, disable=None):
        for seed in arguments.seeds:
            results.append(measure(name, arguments.scale, seed))
            print(line(results[-1]), flush=True)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
