"""Quality against cost: networks as points, with intervals, the front, and lines for what they are compared with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan

from markupsafe import Markup

from qprune_cli.report.axes import HEIGHT, SIDES, WIDTH, Axes
from qprune_cli.report.chart import Chart, stroke
from qprune_cli.report.marker import marker, swatch
from qprune_cli.report.pareto import front
from qprune_cli.report.scale import around
from qprune_cli.report.svg import node, path, picture
from qprune_cli.report.text import listed
from qprune_cli.types import Measure

BELOW = 0.15  # of the span above it, what is shown below the line of no network
FAR = 1.0  # a level further away than this many spans of the points is named at the edge instead of squeezing them
NAMED = 60.0  # width of the name of a line
APART, MOVED = 9.0, 5  # points at one place stand so far apart, so many of them
Across = tuple[str, float, str]  # name, value and kind of a line
MANY = 300  # points that still say their names under the pointer


@dataclass(frozen=True)
class Point:
    """A network as a point of a chart.

    Attributes:
        name: what it is.
        series: number of its sign.
        costs: by name.
        quality: mean of the measure.
        low: end of its interval; None where there is none.
        high: likewise.
    """

    name: str
    series: int
    costs: Mapping[str, float]
    quality: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Cost:
    """What quality is drawn against: its name in ``Point.costs``, the title of the axis, the heading, how values and ticks are written."""

    name: str
    axis: str
    heading: str
    text: Callable[[float], str]
    tick: Callable[[float], str]


def quality_chart(
    measure: Measure, cost: Cost, points: Sequence[Point], levels: Sequence[Across], series: Sequence[str], bars: str
) -> Chart | None:
    """Draw quality against a cost; None where fewer than two points have that cost.

    Args:
        measure: of the quality.
        cost: what it is drawn against.
        points: networks.
        levels: lines across.
        series: names of the signs.
        bars: what the intervals are, as the end of a sentence.
    """
    shown = [point for point in points if isfinite(point.costs.get(cost.name, nan)) and isfinite(point.quality)]
    if len(shown) < 2:
        return None
    axes, near = _axes(measure, cost, shown, levels)
    on_front = front([(point.costs[cost.name], point.quality) for point in shown])
    best = sorted((k for k, yes in enumerate(on_front) if yes), key=lambda k: (shown[k].costs[cost.name], shown[k].quality))
    across = side_by_side([axes.x(point.costs[cost.name]) for point in shown])
    positions = [(x, axes.y(point.quality)) for x, point in zip(across, shown, strict=True)]
    drawing = picture(
        WIDTH,
        HEIGHT,
        cost.heading,
        _description(measure, cost, len(shown), [shown[k] for k in best], levels),
        axes.drawn(),
        *(_level(axes, level, positions) for level in near),
        node("path", d=path([positions[k] for k in best]), class_="front"),
        *(
            _drawn(axes, x, point, k in best, _named(measure, cost, point, shown))
            for k, (x, point) in enumerate(zip(across, shown, strict=True))
        ),
    )
    legend = [(swatch(k), series[k]) for k in sorted({point.series for point in shown})]
    legend.append((stroke("front"), "ringed and joined: the Pareto front, beaten by none in both"))
    return Chart(cost.heading, drawing, _note(measure, axes, shown, [level for level in levels if level not in near], bars), legend)


def _axes(measure: Measure, cost: Cost, shown: Sequence[Point], levels: Sequence[Across]) -> tuple[Axes, list[Across]]:
    """Axes that show the points, and the lines that are near enough to be shown with them."""
    values = [end for point in shown for end in (point.low, point.quality, point.high) if end is not None]
    ignorant = next((value for _, value, kind in levels if kind == "ignorant"), -inf)
    if max(values) > ignorant > min(values):  # what is worse than no network at all would squeeze the others
        values = [max(value, ignorant - BELOW * (max(values) - ignorant)) for value in values]
    low, high = around(values, 0.1)
    near = [level for level in levels if low - FAR * (high - low) <= level[1] <= high + FAR * (high - low)]
    low, high = around([*values, *(value for _, value, _ in near)], 0.1)
    unit = f", {measure.unit}" if measure.unit else ""
    digits = _digits(measure, high - low)
    texts = (cost.tick, lambda value: f"{value * measure.scale:.{digits}f}")
    wide = around([point.costs[cost.name] for point in shown], 0.08)
    return Axes.over(wide, (low, high), (cost.axis, f"{measure.title}{unit}"), texts=texts), near


def _note(measure: Measure, axes: Axes, shown: Sequence[Point], far: Sequence[Across], bars: str) -> str:
    """What the bars are, and what does not lie in the picture."""
    notes = [f"Bars are {bars}."] if any(point.low is not None for point in shown) else []
    if far:
        notes.append(f"Outside the picture: {' and '.join(f'{name} at {measure.text(value)}' for name, value, _ in far)}.")
    if lost := sum(point.quality < axes.y.low for point in shown):
        notes.append(f"{listed(lost, 'network is', 'networks are')} worse than the picture goes: drawn at its lower edge.")
    return " ".join(notes)


def _level(axes: Axes, level: Across, positions: Sequence[tuple[float, float]]) -> Markup:
    """A line across, named where the fewest points are in the way."""
    name, value, kind = level
    hidden = [x for x, y in positions if abs(y - axes.y(value)) < NAMED / 3]
    crowds = {side: sum(abs(x - middle) < NAMED for x in hidden) for side, (middle, _) in SIDES.items()}
    return axes.level(value, name, kind, below=kind == "ignorant", side=min(crowds, key=lambda side: crowds[side]))


def side_by_side(positions: Sequence[float]) -> list[float]:
    """Move points that would hide each other apart; the others stay.

    Example:
        >>> side_by_side([10.0, 50.0, 10.0])
        [5.5, 50.0, 14.5]
    """
    moved = list(positions)
    groups: dict[int, list[int]] = {}
    for k, position in enumerate(positions):
        groups.setdefault(round(position), []).append(k)
    for those in groups.values():
        for rank, k in enumerate(those[:MOVED]):
            moved[k] = positions[k] + APART * (rank - (len(those[:MOVED]) - 1) / 2)
    return moved


def _digits(measure: Measure, span: float) -> int:
    """Digits behind the point that tell the numbers of an axis apart."""
    wide = span * measure.scale
    return 0 if wide >= 10 else 1 if wide >= 1 else 2 if wide >= 0.1 else 4


def _named(measure: Measure, cost: Cost, point: Point, shown: Sequence[Point]) -> str:
    """What a point says under the pointer."""
    return f"{point.name}: {measure.text(point.quality)}, {cost.text(point.costs[cost.name])}" if len(shown) <= MANY else ""


def _drawn(axes: Axes, x: float, point: Point, on_front: bool, label: str) -> Markup:
    y = axes.y(point.quality)
    bar = Markup("")
    if point.low is not None and point.high is not None:
        low, high = axes.y(point.low), axes.y(point.high)
        ends = "".join(f"M{x - 3:.1f} {end:.1f}h6" for end in (low, high))
        bar = node("path", d=f"M{x:.1f} {low:.1f}V{high:.1f}{ends}", class_=f"bar s{point.series % 8}")
    ring = node("circle", cx=x, cy=y, r=8, class_="ring") if on_front else Markup("")
    return bar + ring + marker(point.series, x, y, label=label)


def _description(measure: Measure, cost: Cost, count: int, best: Sequence[Point], levels: Sequence[Across]) -> str:
    """The chart in words: how many networks there are, which are on the front, and the lines across."""
    names = [f"{p.name} ({measure.text(p.quality)}, {cost.text(p.costs[cost.name])})" for p in best]
    on_front = "; ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    lines = "".join(f" {name}: {measure.text(value)}." for name, value, _ in levels)
    return f"{count} networks; on the Pareto front: {on_front}.{lines}"
