"""How long networks take, measured in turn, so that what else the machine does hits all of them alike."""

from collections.abc import Mapping, Sequence
from time import perf_counter

import numpy as np
import torch
from torch import nn
from torch.utils.benchmark import Timer
from tqdm import tqdm

from qprune_cli.types import Latency

FEWEST, MOST = 7, 50  # runs of each network


@torch.inference_mode()
def latencies(
    networks: Mapping[str, nn.Module], shape: Sequence[int], seconds: float = 2.0, threads: int | None = None
) -> dict[str, Latency]:
    """Time networks on one image, one after the other and again, after two runs each to warm up.

    Args:
        networks: by name, in evaluation mode, on one device.
        shape: (C, H, W) of the image.
        seconds: time to spend on each; at least 7 and at most 50 runs are made.
        threads: threads to compute with; None for as many as PyTorch uses.

    Returns:
        Median and quartiles in ms, by name.

    Example:
        >>> one = latencies({"one": nn.Conv2d(1, 1, 1)}, (1, 8, 8), seconds=0.01)["one"]
        >>> one.runs >= 7, one.low <= one.median <= one.high
        (True, True)
    """
    device = next(next(iter(networks.values())).parameters()).device
    image, threads = torch.rand(1, *shape, device=device), threads or torch.get_num_threads()
    timers = {
        name: Timer("model(image)", globals={"model": model, "image": image}, num_threads=threads) for name, model in networks.items()
    }
    for timer in timers.values():
        timer.timeit(2)
    milliseconds: dict[str, list[float]] = {name: [] for name in networks}
    start = perf_counter()
    for run in tqdm(range(MOST), desc="latency", unit="run", leave=False, disable=None):
        if run >= FEWEST and perf_counter() - start > seconds * len(networks):
            break
        for name, timer in timers.items():
            milliseconds[name].append(1e3 * timer.timeit(1).median)
    quartiles = {name: np.percentile(times, [25, 50, 75]).tolist() for name, times in milliseconds.items()}
    return {name: Latency(median, low, high, len(milliseconds[name]), threads) for name, (low, median, high) in quartiles.items()}
