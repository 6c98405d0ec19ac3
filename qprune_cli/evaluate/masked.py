"""Measuring masks on a network: quality on an image set."""

from collections.abc import Mapping

from torch import nn

from qprune_cli.evaluate.quality import mean_measure, outputs
from qprune_cli.evaluate.task import Task
from qprune_cli.surgery.shrink import shrink
from qprune_cli.surgery.silence import silence
from qprune_cli.types import Bools, Floats, ImageSet, Layout, Pair, Quality


def shrunk(
    model: nn.Module, layout: Layout, masks: Mapping[str, Bools], fitted: Mapping[str, nn.Module] | None = None
) -> dict[str, nn.Module]:
    """The smaller networks that (n,) masks leave, by name; equal ones are one, and nothing dropped leaves the network as it is.

    Args:
        model: the network.
        layout: its filters.
        masks: by name.
        fitted: networks of the same shape with other weights, for the names that have their own.
    """
    found: dict[tuple[int, bytes], nn.Module] = {}
    networks: dict[str, nn.Module] = {}
    for name, keep in masks.items():
        whole = (fitted or {}).get(name, model)
        key = id(whole), keep.tobytes()
        if key not in found:
            found[key] = whole if keep.all() else shrink(whole, layout, keep)
        networks[name] = found[key]
    return networks


def qualities(
    task: Task, networks: Mapping[str, nn.Module], images: ImageSet, volume: bool = False, known: Mapping[str, Quality] | None = None
) -> dict[str, Quality]:
    """Quality per image of several networks, by name (see ``Task.quality``); one that is listed twice is measured once, ``known`` not."""
    found = {id(networks[name]): quality for name, quality in (known or {}).items()}
    found |= {id(model): task.quality(model, images, volume) for model in dict.fromkeys(networks.values()) if id(model) not in found}
    return {name: found[id(model)] for name, model in networks.items()}


def restored(networks: Mapping[str, nn.Module], pair: Pair) -> dict[str, Floats]:
    """What several networks make of one image: (C, H, W) each, by name."""
    return {name: next(outputs(model, ImageSet((pair,)))) for name, model in networks.items()}


def silenced_merit(task: Task, model: nn.Module, layout: Layout, keep: Bools, images: ImageSet) -> float:
    """Mean merit of a mask, such as its PSNR in dB."""
    with silence(model, layout, keep):
        return mean_measure(task.merits, model, images, label="measure")
