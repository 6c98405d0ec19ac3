"""A chart of a page: a drawing, what it shows, and its legend."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from qprune_cli.report.svg import node


class Chart(NamedTuple):
    """A drawing with its caption.

    Attributes:
        title: above it.
        drawing: inline SVG, or an image with a text alternative.
        note: below it; how to read it.
        legend: signs and what they stand for.
    """

    title: str
    drawing: Markup
    note: str = ""
    legend: Sequence[tuple[Markup, str]] = ()


def stroke(kind: str) -> Markup:
    """The sign of a line in a legend."""
    return node("svg", node("line", x1=1, x2=23, y1=8, y2=8, class_=kind), viewBox="0 0 24 16", class_="swatch wide", aria_hidden="true")


def block(kind: str) -> Markup:
    """The sign of a bar in a legend."""
    return node("svg", node("rect", x=2, y=3, width=12, height=10, class_=kind), viewBox="0 0 16 16", class_="swatch", aria_hidden="true")
