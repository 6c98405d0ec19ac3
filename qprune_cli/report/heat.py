"""A matrix as a picture: dark for nothing, bright for much; blue below 0."""

import base64
import io

import numpy as np
from markupsafe import Markup
from PIL import Image

from qprune_cli.report.svg import node
from qprune_cli.types import Floats

SIDE = 288  # pixels that are drawn at least
MOST = 256  # rows; a larger matrix is drawn by means over blocks
LOW, ZERO, HIGH = (86, 156, 255), (24, 26, 34), (255, 196, 66)


def heat(matrix: Floats, notch: int, description: str) -> Markup:
    """Draw a square matrix: blue below 0, dark at 0, yellow above, by the square root of the value.

    Args:
        matrix: (n, n).
        notch: rows before a mark at the edges; 0 or n for none.
        description: the picture in words.
    """
    small = _means(matrix)
    peak = float(np.abs(small).max()) or 1.0
    levels = np.clip(np.round(np.sign(small) * np.sqrt(np.abs(small) / peak) * 127), -127, 127).astype(int)
    image = Image.fromarray((levels + 127).astype(np.uint8)).convert("L")
    image.putpalette(_palette())
    times = max(1, SIDE // len(small))
    image = image.resize((times * len(small),) * 2, Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    position = 100 * notch / len(matrix)
    marks = (
        [node("span", class_=f"notch {side}", style=f"{edge}:{position:.2f}%", aria_hidden="true") for side, edge in EDGES]
        if 0 < notch < len(matrix)
        else []
    )
    picture = node("img", src=data_uri("png", file.getvalue()), alt=description, class_="heat", width=SIDE, height=SIDE)
    return node("span", picture, *marks, class_="heat-frame")


EDGES = (("across", "top"), ("down", "left"))


def data_uri(kind: str, content: bytes) -> str:
    """The content of a picture as a data URI, so that the page holds it itself."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _means(matrix: Floats) -> Floats:
    """At most ``MOST`` rows and columns."""
    if len(matrix) <= MOST:
        return matrix
    edges = np.linspace(0, len(matrix), MOST + 1).astype(int)
    sums = np.add.reduceat(np.add.reduceat(matrix, edges[:-1], axis=0), edges[:-1], axis=1)
    widths = np.diff(edges)
    means: Floats = sums / np.outer(widths, widths)
    return means


def _palette() -> list[int]:
    """256 colours from LOW over ZERO to HIGH."""
    share = np.linspace(-1, 1, 255)[:, None]
    ends = np.where(share < 0, np.array(LOW), np.array(HIGH))
    colours = np.round(np.array(ZERO) + (ends - np.array(ZERO)) * np.abs(share)).astype(int)
    return [*colours.ravel().tolist(), 0, 0, 0]
