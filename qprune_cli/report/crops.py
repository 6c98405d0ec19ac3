"""Test images as the report shows them: noisy, clean, dense, pruned, and what pruning changed."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qprune_cli.record.crops import GAP
from qprune_cli.record.read import DAMAGES
from qprune_cli.report.facts import Facts
from qprune_cli.report.parts import Fault, Parts
from qprune_cli.report.text import count

PANELS = ("noisy", "dense", "pruned", "clean")  # of a file that does not name its own
SHOWN = ("noisy", "clean", "dense", "pruned")
SIDE = 256  # pixels of an image that are shown at most
FACTORS = (32, 16, 8, 4, 2, 1)  # by which a difference may be amplified
TITLES = {"worst": "Worst image", "median": "Median image", "best": "Best image"}
QUALITY = 88

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Panel:
    """One picture of a test image, with its caption.

    Attributes:
        title: what it shows.
        caption: its quality, or how a difference is amplified.
        source: as a data URI.
        alt: text alternative.
        width: pixels.
        height: pixels.
    """

    title: str
    caption: str
    source: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Example:
    """A test image as several pictures, from the noisy one to what pruning changed.

    Attributes:
        title: which one.
        note: its name, and which part of it is shown.
        panels: from left to right.
    """

    title: str
    note: str
    panels: tuple[Panel, ...]


def examples(parts: Parts, facts: Facts | None) -> tuple[list[Example], list[Fault]]:
    """The test images that the run has saved, the worst first, and a fault for each that cannot be shown."""
    shown, faults = [], []
    paths = {path.stem: path for path in parts.crops}
    for name in dict.fromkeys([*(one for one in TITLES if one in paths), *paths]):
        try:
            shown.append(_example(parts, facts, paths[name]))
        except (*DAMAGES, Image.DecompressionBombError, SyntaxError) as error:
            faults.append(
                Fault(f"crops/{paths[name].name}", f"is damaged ({str(error).splitlines()[0] if str(error) else type(error).__name__})")
            )
    return shown, faults


def _example(parts: Parts, facts: Facts | None, path: Path) -> Example:
    with Image.open(path) as file:
        about = {str(key): str(value) for key, value in file.info.items()}
        strip = np.asarray(file.convert("RGB" if file.mode != "L" else "L"))
    names = about.get("panels", ",".join(PANELS)).split(",")
    width = (strip.shape[1] - GAP * (len(names) - 1)) // len(names)
    if width < 1 or width * len(names) + GAP * (len(names) - 1) != strip.shape[1]:
        raise ValueError(f"its width is not that of {len(names)} pictures")
    whole = {name: strip[:, k * (width + GAP) : k * (width + GAP) + width] for k, name in enumerate(names)}
    pictures, part = _part(whole)
    values = _values(parts, facts, about.get("image", ""))
    panels = [_panel(name, pictures[name], values.get(name, "")) for name in SHOWN if name in pictures]
    if {"pruned", "dense"} <= pictures.keys():
        panels.append(_difference(pictures["pruned"], pictures["dense"]))
    note = ", ".join(one for one in (about.get("image", ""), part) if one)
    return Example(TITLES.get(path.stem, path.stem), note, tuple(panels))


def _part(whole: Mapping[str, Pixels]) -> tuple[dict[str, Pixels], str]:
    """Cut large images where the pruned and the dense network differ most."""
    first = next(iter(whole.values()))
    height, width = first.shape[:2]
    tall, wide = min(height, SIDE), min(width, SIDE)
    if (tall, wide) == (height, width):
        return dict(whole), ""
    change = np.zeros((height, width))
    if {"pruned", "dense"} <= whole.keys():
        both = np.abs(whole["pruned"].astype(float) - whole["dense"])
        change = both if both.ndim == 2 else both.sum(axis=2)
    sums = np.pad(change.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    cut = {name: picture[top : top + tall, left : left + wide] for name, picture in whole.items()}
    return cut, f"{wide} × {tall} of its {count(width)} × {count(height)} pixels, where pruning changes most"


def _values(parts: Parts, facts: Facts | None, image: str) -> dict[str, str]:
    """Quality of each panel, where the file says which image it is."""
    if facts is None or image not in parts.names:
        return {}
    k, measure = parts.names.index(image), facts.measure
    stages = {"noisy": "identity", "dense": "dense", "pruned": facts.last}
    measured = {panel: parts.images.get(stage, {}).get(measure.name) for panel, stage in stages.items()}
    return {panel: measure.text(float(values[k])) for panel, values in measured.items() if values is not None}


def _panel(name: str, pixels: Pixels, caption: str) -> Panel:
    alt = f"{name} image{f', {caption}' if caption else ''}"
    return Panel(name, caption, encoded(pixels), alt, pixels.shape[1], pixels.shape[0])


def _difference(pruned: Pixels, dense: Pixels) -> Panel:
    """Pruned less dense around grey, amplified so that it just fits."""
    change = pruned.astype(float) - dense
    large = float(np.percentile(np.abs(change), 99.5))
    factor = next((factor for factor in FACTORS if large * factor <= 127), 1)
    pixels = np.clip(np.round(127.5 + factor * change), 0, 255).astype(np.uint8)
    largest = f"{np.abs(change).max() / 255:.1%} of the range"
    alt = f"pruned minus dense, {factor} times amplified; grey where both agree, the largest difference is {largest}"
    return Panel("difference", f"× {factor}, grey: none", encoded(pixels), alt, pixels.shape[1], pixels.shape[0])


def encoded(pixels: Pixels) -> str:
    """A picture (H, W) or (H, W, 3) within the page, as a data URI of a WebP file."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "WEBP", quality=QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def weight(shown: Sequence[Example]) -> int:
    """Number of characters that the pictures of examples take in a page."""
    return sum(len(panel.source) for example in shown for panel in example.panels)
