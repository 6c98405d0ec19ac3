"""Lines and dots over a common axis: searches, refinements, trainings."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

import numpy as np
from markupsafe import Markup

from qprune_cli.report.axes import Axes
from qprune_cli.report.chart import Chart, stroke
from qprune_cli.report.marker import marker, swatch
from qprune_cli.report.scale import around
from qprune_cli.report.svg import node, path, picture
from qprune_cli.types import Floats

MOST = 400  # points of a series that are drawn


@dataclass(frozen=True)
class Series:
    """A line or a row of dots: values along an axis.

    Attributes:
        name: in the legend.
        x: positions along the axis to the right.
        y: values; those that are not finite are left out.
        line: class of the line that joins them; empty for none.
        sign: number of the sign at each; None for none.
    """

    name: str
    x: Sequence[float] | Floats
    y: Sequence[float] | Floats
    line: str = ""
    sign: int | None = None

    @property
    def points(self) -> list[tuple[float, float]]:
        """The finite points (x, y), thinned evenly to ``MOST`` where they are more; both ends stay."""
        finite = [(float(x), float(y)) for x, y in zip(self.x, self.y, strict=True) if isfinite(x) and isfinite(y)]
        if len(finite) <= MOST:
            return finite
        return [finite[k] for k in np.unique(np.linspace(0, len(finite) - 1, MOST).round().astype(int))]


@dataclass(frozen=True)
class Level:
    """A line across, with its name, above it or ``below``."""

    name: str
    value: float
    kind: str = ""
    below: bool = False


@dataclass(frozen=True)
class Curves:
    """What a chart of lines shows.

    Attributes:
        title: above it.
        titles: of the axes.
        series: the lines; those without a point are left out.
        levels: lines across.
        note: below it.
        log: whether the upward axis is logarithmic; what is not above 0 is left out then, levels as well.
    """

    title: str
    titles: tuple[str, str]
    series: Sequence[Series]
    levels: Sequence[Level] = field(default=())
    note: str = ""
    log: bool = False

    def chart(self, description: str) -> Chart | None:
        """Draw the chart; None where no series has two points.

        Args:
            description: the chart in words.
        """
        drawn = [(one, [p for p in one.points if p[1] > 0 or not self.log]) for one in self.series]
        drawn = [(one, points) for one, points in drawn if points]
        if max((len(points) for _, points in drawn), default=0) < 2:
            return None
        levels = [level for level in self.levels if level.value > 0 or not self.log]
        values = [y for _, points in drawn for _, y in points] + [level.value for level in levels]
        ends = (min(values) / 1.3, max(values) * 1.3) if self.log else around(values, 0.08)
        across = around((x for _, points in drawn for x, _ in points), 0.03)
        axes = Axes.over(across, ends, self.titles, (False, self.log))
        parts = [axes.level(level.value, level.name, level.kind, level.below) for level in levels]
        parts += [_line(axes, one, points) for one, points in drawn]
        legend = [(stroke(one.line) if one.line else swatch(one.sign or 0), one.name) for one, _ in drawn]
        return Chart(
            self.title, picture(400, 270, self.title, description, axes.drawn(), *parts), self.note, legend if len(legend) > 1 else ()
        )


def _line(axes: Axes, series: Series, points: Sequence[tuple[float, float]]) -> Markup:
    positions = [(axes.x(x), axes.y(y)) for x, y in points]
    line = node("path", d=path(positions), class_=series.line) if series.line else Markup("")
    dots = [marker(series.sign, x, y, 3.2) for x, y in positions] if series.sign is not None else []
    return line + Markup("").join(dots)
