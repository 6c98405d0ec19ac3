"""The smaller networks that masks leave, and their quality on a set of images."""

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
        fitted: networks of the same shape with other weights, for the names that have such.
    """
    distinct: dict[tuple[int, bytes], nn.Module] = {}
    networks: dict[str, nn.Module] = {}
    for name, keep in masks.items():
        whole = (fitted or {}).get(name, model)
        key = id(whole), keep.tobytes()
        if key not in distinct:
            distinct[key] = whole if keep.all() else shrink(whole, layout, keep)
        networks[name] = distinct[key]
    return networks


def qualities(
    task: Task, networks: Mapping[str, nn.Module], images: ImageSet, volume: bool = False, measured: Mapping[str, Quality] | None = None
) -> dict[str, Quality]:
    """Quality per image of several networks, by name; a network that is listed twice is measured once.

    Args:
        task: what the networks are for.
        networks: by name.
        images: with their targets.
        volume: see ``Task.quality``.
        measured: qualities that were measured already, by name; these networks are not measured again.
    """
    values = {id(networks[name]): quality for name, quality in (measured or {}).items()}
    values |= {id(model): task.quality(model, images, volume) for model in dict.fromkeys(networks.values()) if id(model) not in values}
    return {name: values[id(model)] for name, model in networks.items()}


def restored(networks: Mapping[str, nn.Module], pair: Pair) -> dict[str, Floats]:
    """What several networks make of the input of one pair: (C, H, W) each, by name."""
    return {name: next(outputs(model, ImageSet((pair,)))) for name, model in networks.items()}


def silenced_merit(task: Task, model: nn.Module, layout: Layout, keep: Bools, images: ImageSet) -> float:
    """Mean merit over the images of a network whose filters an (n,) mask silences, such as its PSNR in dB."""
    with silence(model, layout, keep):
        return mean_measure(task.merits, model, images, label="measure")
