"""Latency against multiply-accumulates.

For each network, share of filters removed and ``round_to``: MACs and latency of the smaller network as shares of the dense one's,
their quotient (1: exactly as much faster as smaller), what else than convolutions takes time, and PSNR on the sample's test images. All
networks of one table are timed in turn, so that what else the machine does hits them alike.

    python scripts/latency.py --threads 2
    python scripts/latency.py --scale tiny --json latency.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.cost.cost import footprint_of
from qprune_cli.cost.latency import latencies
from qprune_cli.cost.memory import peak_activations
from qprune_cli.device import pick_device
from qprune_cli.errors import UserError
from qprune_cli.evaluate.quality import mean_measure, psnrs
from qprune_cli.graph.trace import trace
from qprune_cli.problem.budget import Budget, layer_counts
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.run.plan import RunPlan
from qprune_cli.surgery.shrink import shrink
from qprune_cli.types import REFERENCE_SIDE

SPARSITIES = (0.3, 0.5, 0.7)
ROUND_TO = (1, 8, 16)
SCALES: dict[str, dict[str, Any]] = {
    "tiny": {"models": {"half_unet_small": ["model=half_unet_small"]}, "seconds": 0.2, "overrides": ["data.crops=8"]},
    "cpu": {
        "models": {name: [f"model={name}", f"model.weights={name}"] for name in ("half_unet", "dncnn", "nafnet_narrow")}
        | {"dncnn_published": ["model=dncnn", "model.width=64", "model.depth=17", "model.weights=null"]},
        "seconds": 3.0,
        "overrides": [],
    },
}
SCALES["gpu"] = SCALES["cpu"] | {"overrides": ["device=cuda"]}
KINDS = {
    "convolution": ("conv", "mkldnn", "cudnn", "addmm"),
    "activation": ("clamp", "relu", "sigmoid"),
    "sum, product": ("add", "mul", "sub"),
    "interpolation, pooling": ("upsample", "pool", "pixel_shuffle"),
    "copy, scatter, padding": ("copy", "cat", "index", "fill", "zero", "pad", "clone"),
    "norm": ("norm", "sum", "mean", "var"),
}


def measure(name: str, chosen: list[str], scale: dict[str, Any], seed: int, threads: int) -> dict[str, Any]:
    """Time one network and what is left of it."""
    plan = RunPlan.of(compose_jobs("run", ["solver=greedy_taylor", *chosen, *scale["overrides"]]).jobs[0])
    dense = plan.model.load() if plan.model.trained else plan.model.build().eval().to(memory_format=torch.channels_last)
    dense = dense.to(pick_device(plan.settings.device))
    splits, layout = plan.data.load(seed), trace(dense)
    scores = plan.scorer.score(dense, layout, splits, seed)
    networks: dict[str, nn.Module] = {"dense": dense}
    for sparsity in SPARSITIES:
        for round_to in ROUND_TO:
            try:
                budget = Budget.share(layout, sparsity, layer_counts(layout, 1, round_to))
            except UserError:  # so many cannot go where every layer keeps so much
                continue
            problem = PruningProblem(layout, scores.linear, scores.pairs, budget)
            networks[f"{sparsity} {round_to}"] = shrink(dense, layout, plan.solver.solve(problem, seed).keep)
    shape = (plan.model.channels, REFERENCE_SIDE, REFERENCE_SIDE)
    times = latencies(networks, shape, scale["seconds"], threads)
    rows = []
    for key, network in tqdm(networks.items(), desc=f"{name}: judge", disable=None):
        size, time = footprint_of(network, shape), times[key]
        rows.append(
            {
                "network": key,
                "params": size.params,
                "macs": size.macs,
                "activations": peak_activations(network, shape),
                "ms": time.median,
                "quartiles": [time.low, time.high],
                "runs": time.runs,
                "psnr": mean_measure(psnrs, network, splits.test, "judge") if plan.model.trained else float("nan"),
                "shares": shares(network, shape, threads),
            }
        )
    return {"model": name, "shape": [1, *shape], "threads": threads, "rows": rows}


@torch.inference_mode()
def shares(network: nn.Module, shape: tuple[int, ...], threads: int) -> dict[str, float]:
    """Share of the time that each kind of operation takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    image = torch.rand(1, *shape, device=next(network.parameters()).device)
    network(image)
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        for _ in range(3):
            network(image)
    torch.set_num_threads(before)
    total: dict[str, float] = dict.fromkeys([*KINDS, "else"], 0.0)
    for event in watched.key_averages():
        kind = next((kind for kind, words in KINDS.items() if any(word in event.key for word in words)), "else")
        total[kind] += event.self_cpu_time_total
    whole = sum(total.values())
    return {kind: time / whole for kind, time in total.items()}


def table(result: dict[str, Any]) -> str:
    """The results as a markdown table."""
    dense = result["rows"][0]
    lines = [
        f"\n{result['model']}: image {result['shape']}, {result['threads']} threads, {dense['runs']} runs; dense {dense['ms']:.1f} ms "
        f"[{dense['quartiles'][0]:.1f}, {dense['quartiles'][1]:.1f}], {dense['macs'] / 1e9:.2f} GMACs, {dense['psnr']:.2f} dB\n",
        "| removed | round_to | params | MACs | latency (quartiles) | latency / MACs | activations | PSNR | "
        + " | ".join(KINDS)
        + " | else |",
        "|---|" * 1 + "---|" * (8 + len(KINDS)),
    ]
    for row in result["rows"]:
        sparsity, _, round_to = row["network"].partition(" ")
        macs, time = row["macs"] / dense["macs"], row["ms"] / dense["ms"]
        low, high = (quartile / dense["ms"] for quartile in row["quartiles"])
        parts = " | ".join(f"{share:.0%}" for share in row["shares"].values())
        lines.append(
            f"| {sparsity} | {round_to} | {row['params']:,} | {macs:.3f} | {time:.3f} ({low:.3f} to {high:.3f}) | {time / macs:.2f} "
            f"| {row['activations'] / 1e6:.0f} MB | {row['psnr']:.2f} | {parts} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of calibration; the first one is used")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--models", nargs="+", help="of the scale's networks, these alone")
    arguments = parser.parse_args()
    scale, results = SCALES[arguments.scale], []
    for name, chosen in scale["models"].items():
        if not arguments.models or name in arguments.models:
            results.append(measure(name, chosen, scale, arguments.seeds[0], arguments.threads))
            print(table(results[-1]), flush=True)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=2, default=np.ndarray.tolist))


if __name__ == "__main__":
    main()
