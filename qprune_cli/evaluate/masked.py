"""Measuring masks on a network: quality on an image set, and the metric that refiners tune."""

from collections.abc import Mapping

import numpy as np
from torch import nn

from qprune_cli.evaluate.quality import judge, mean_psnr, outputs
from qprune_cli.structure.silence import silence
from qprune_cli.types import Bools, Floats, ImageSet, Layout, Metric, Pair, Quality


def qualities(model: nn.Module, layout: Layout, masks: Mapping[str, Bools], images: ImageSet, volume: bool = False) -> dict[str, Quality]:
    """Quality per image of the networks that (n,) masks leave; each distinct mask is measured once (see ``judge``)."""
    known: dict[bytes, Quality] = {}
    for keep in masks.values():
        if keep.tobytes() not in known:
            with silence(model, layout, keep):
                known[keep.tobytes()] = judge(outputs(model, images, label="measure"), images, volume)
    return {name: known[keep.tobytes()] for name, keep in masks.items()}


def restored(model: nn.Module, layout: Layout, masks: Mapping[str, Bools], pair: Pair) -> dict[str, Floats]:
    """What the networks that (n,) masks leave make of one image: (C, H, W) each."""
    results = {}
    for name, keep in masks.items():
        with silence(model, layout, keep):
            results[name] = next(outputs(model, ImageSet((pair,))))
    return results


def metric(model: nn.Module, layout: Layout, images: ImageSet) -> Metric:
    """Mean PSNR of masks on a fixed image set, each distinct mask measured once."""
    known: dict[bytes, float] = {}

    def one(keep: Bools) -> float:
        if (key := keep.tobytes()) not in known:
            with silence(model, layout, keep):
                known[key] = mean_psnr(model, images, label="refine")
        return known[key]

    def measure(keep: Bools) -> Floats:
        return np.array([one(mask) for mask in keep])

    return Metric(measure, lambda: len(known))
