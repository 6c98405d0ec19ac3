"""Fidelity: whether an objective predicts what the loss does when single filters are exchanged near a mask.

The objective, not the solver, decides how good a mask is in the end; this is the figure that says how far it can be trusted.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn
from tqdm import tqdm

from qprune_cli.calibration.batches import device_batches
from qprune_cli.calibration.loss import LOSSES
from qprune_cli.surgery.silence import silence
from qprune_cli.types import Bools, Floats, ImageSet, Ints, Layout

RESAMPLES = 1000
FEWEST_SWAPS = 3  # that have a rank correlation


@torch.no_grad()
def mean_loss(model: nn.Module, layout: Layout, keep: Bools, images: ImageSet, loss: str, batch: int = 8) -> float:
    """Mean over the images of the loss of a network whose filters an (n,) mask silences; ``loss`` is a name of ``LOSSES``."""
    with silence(model, layout, keep):
        batches = device_batches(model, images, batch, "loss")
        total = sum(float(LOSSES[loss](model(inputs), targets).double().sum()) for inputs, targets in batches)
    return total / len(images)


def fidelity(
    true: Callable[[Bools], float], objectives: Mapping[str, Callable[[Bools], Floats]], keep: Bools, swaps: Ints
) -> dict[str, Any]:
    """Rank correlation between predicted and true change of the loss over swaps.

    Args:
        true: (n,) mask -> loss.
        objectives: (b, n) masks -> (b,) predicted damage, by name.
        keep: (n,) mask that the swaps start from.
        swaps: (s, 2) kept filters that go, and dropped ones that come back.

    Returns:
        Ready for JSON: for each name ``correlation`` (Spearman's) with a bootstrap ``ci95`` (None where nothing varies), then the swaps
        with their true and predicted changes.
    """
    masks = np.repeat(keep[None], len(swaps), axis=0)
    for mask, (i, j) in zip(masks, swaps, strict=True):
        mask[i], mask[j] = False, True
    start = true(keep)
    change = np.array([true(mask) - start for mask in tqdm(masks, desc="fidelity", unit="swap", leave=False, disable=None)])
    predicted = {name: damage(masks) - damage(keep[None])[0] for name, damage in objectives.items()}
    return {
        "swaps": len(swaps),
        **{name: correlation(values, change) for name, values in predicted.items()},
        "dropped": swaps[:, 0].tolist(),
        "returned": swaps[:, 1].tolist(),
        "true": change.tolist(),
        "predicted": {name: values.tolist() for name, values in predicted.items()},
    }


def correlation(predicted: Floats, true: Floats) -> dict[str, Any]:
    """Spearman's rank correlation and its 95 % bootstrap interval, of (s,) changes; None where one of the two does not vary."""
    rho = _spearman(predicted, true)
    if rho is None:
        return {"correlation": None, "ci95": None}
    rng = np.random.default_rng(0)
    draws = (rng.integers(len(true), size=len(true)) for _ in range(RESAMPLES))
    values = [value for rows in draws if (value := _spearman(predicted[rows], true[rows])) is not None]
    low, high = np.percentile(values, [2.5, 97.5])
    return {"correlation": rho, "ci95": [float(low), float(high)]}


def _spearman(first: Floats, second: Floats) -> float | None:
    if len(first) < FEWEST_SWAPS or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(spearmanr(first, second).statistic)
