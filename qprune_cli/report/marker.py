"""Signs for points: each series has a shape and a colour of its own, so that no one needs to tell colours apart."""

from math import cos, pi, sin

from markupsafe import Markup

from qprune_cli.report.svg import node, path

SIZE = 4.6


def _polygon(corners: int, turn: float) -> list[tuple[float, float]]:
    angles = [turn + 2 * pi * k / corners for k in range(corners)]
    return [(1.25 * cos(angle), 1.25 * sin(angle)) for angle in angles]


THIN = 0.34
PLUS = [(-THIN, -1.2), (THIN, -1.2), (THIN, -THIN), (1.2, -THIN), (1.2, THIN), (THIN, THIN)]
PLUS += [(-x, -y) for x, y in PLUS]
CROSS = [((x - y) / 2**0.5, (x + y) / 2**0.5) for x, y in PLUS]
SHAPES = (
    _polygon(24, 0),
    _polygon(4, pi / 4),
    _polygon(3, -pi / 2),
    _polygon(4, 0),
    _polygon(3, pi / 2),
    PLUS,
    CROSS,
    _polygon(5, -pi / 2),
)
COUNT = len(SHAPES)


def marker(series: int, x: float, y: float, size: float = SIZE, label: str = "") -> Markup:
    """The sign of a series at a point; its label is shown when the pointer rests on it. From the ninth series on signs are hollow."""
    corners = [(x + size * a, y + size * b) for a, b in SHAPES[series % COUNT]]
    hollow = " hollow" if series // COUNT % 2 else ""
    return node("path", *([node("title", label)] if label else []), d=f"{path(corners)}Z", class_=f"mark s{series % COUNT}{hollow}")


def swatch(series: int) -> Markup:
    """The sign of a series in a legend."""
    return node("svg", marker(series, 8, 8, 5.5), viewBox="0 0 16 16", class_="swatch", aria_hidden="true")
