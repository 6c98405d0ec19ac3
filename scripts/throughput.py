"""Speed of `qprune train` against a plain PyTorch loop of the same step.

    python scripts/throughput.py --json outputs/throughput.json

The plain loop draws the same crops, one batch after the other, and makes the same update: forward, loss, backward, clipping, AdamW, moving
average. A second one takes one batch that lies in memory, so that it shows what drawing costs. The three take turns, block by block;
reported are the ratios of their medians, because absolute times depend on what else the machine does.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.device import pick_device
from qprune_cli.run.plan import TrainPlan
from qprune_cli.train.adamw import PRECISIONS, AdamW
from qprune_cli.train.loss import LOSSES
from qprune_cli.types import Splits

SCALES = {
    "tiny": ["model=half_unet_small", "train.batch=4", "train.crop=32"],
    "cpu": ["model=half_unet", "train.precision=bfloat16", "train.loss=psnr"],
    "gpu": ["model=half_unet", "train.precision=bfloat16", "train.loss=psnr", "train.batch=64", "train.crop=128", "device=cuda"],
}


def plain(model: nn.Module, splits: Splits, asked: AdamW, steps: int, drawn: bool) -> float:
    """Seconds per step of the plain loop; without ``drawn`` every step takes the same batch."""
    device = next(model.parameters()).device
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), lr=asked.lr, weight_decay=asked.weight_decay)
    averages = [p.detach().clone() for p in model.parameters()]

    def batch(step: int) -> tuple[Tensor, Tensor]:
        crops = splits.train.draw(np.random.default_rng([asked.seed, step]), asked.batch, asked.crop)
        noisy, clean = next(crops.batches(asked.batch))
        return torch.from_numpy(noisy).to(device), torch.from_numpy(clean).to(device)

    first = batch(0)
    model.train()
    start = perf_counter()
    for step in range(steps):
        noisy, clean = batch(step) if drawn else first
        with torch.autocast(device.type, PRECISIONS[asked.precision], enabled=asked.precision != "float32"):
            output = model(noisy)
        loss = LOSSES[asked.loss](output.float(), clean)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), asked.clip)
        optimizer.step()
        torch._foreach_lerp_(averages, [p.detach() for p in model.parameters()], 1 - asked.average)
    float(loss.detach())
    return (perf_counter() - start) / steps


def ours(model: nn.Module, splits: Splits, asked: AdamW, steps: int) -> float:
    """Seconds per step of qprune's loop, without the validation at the end."""
    with TemporaryDirectory() as folder:
        settings = replace(asked, steps=steps + 1, validate_every=steps + 1)
        stamps: list[float] = []
        update = AdamW._update

        def stamped(self: AdamW, *arguments: Any) -> None:
            stamps.append(perf_counter())
            update(self, *arguments)

        AdamW._update = stamped  # type: ignore[method-assign]
        try:
            for _ in settings.fit(model, splits, Path(folder) / "state.safetensors"):
                pass
        finally:
            AdamW._update = update  # type: ignore[method-assign]
        return (stamps[-1] - stamps[0]) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="one block of each loop per seed")
    parser.add_argument("--steps", type=int, default=20, help="steps of a block")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    parser.add_argument("overrides", nargs="*", help="further settings")
    arguments = parser.parse_intermixed_args()
    plan = TrainPlan.of(compose_jobs("train", [*SCALES[arguments.scale], *arguments.overrides]).jobs[0])
    splits, device = plan.data.load(0), pick_device(plan.settings.device)
    seconds: dict[str, list[float]] = {"qprune train": [], "plain loop": [], "plain loop, one batch": []}
    for seed in arguments.seeds:
        asked = replace(plan.train, seed=seed)
        models = [plan.model.build().to(device) for _ in seconds]
        seconds["plain loop"].append(plain(models[0], splits, asked, arguments.steps, drawn=True))
        seconds["qprune train"].append(ours(models[1], splits, asked, arguments.steps))
        seconds["plain loop, one batch"].append(plain(models[2], splits, asked, arguments.steps, drawn=False))
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    print("| loop | seconds per step (median, range) | speed against the plain loop |\n|---|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {medians[name]:.4f} ({min(values):.4f} to {max(values):.4f}) | {medians['plain loop'] / medians[name]:.3f} |")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"seconds": seconds, "medians": medians}, indent=2))


if __name__ == "__main__":
    main()
