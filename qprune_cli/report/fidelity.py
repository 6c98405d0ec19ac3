"""Whether the scores predict the loss: every swap as a dot, predicted against true."""

from typing import Any

import numpy as np

from qprune_cli.report.axes import Axes
from qprune_cli.report.chart import Chart
from qprune_cli.report.marker import marker
from qprune_cli.report.parts import Parts
from qprune_cli.report.scale import around
from qprune_cli.report.svg import node, picture
from qprune_cli.report.text import listed, number

TITLES = {"solved": "Scores as they were solved with", "at_mask": "Scores taken anew at the mask"}


def fidelity_charts(parts: Parts) -> list[Chart]:
    """A chart for the scores that were solved with, and one for those at the mask, where swaps were measured."""
    record = parts.solution.get("fidelity")
    if not isinstance(record, dict) or not record.get("true"):
        return []
    return [chart for name, title in TITLES.items() if (chart := _chart(record, name, title)) is not None]


def _chart(record: dict[str, Any], name: str, title: str) -> Chart | None:
    true, predicted = np.array(record["true"], float), np.array(record["predicted"].get(name, ()), float)
    if true.shape != predicted.shape or not np.isfinite([true, predicted]).all():
        return None
    axes = Axes.over(around(predicted, 0.08), around(true, 0.08), ("predicted change of the damage", "true change of the loss"))
    note = f"{listed(len(true), 'swap')} of a kept and a dropped filter; {_rank(record.get(name))}."
    dots = [marker(0, axes.x(float(x)), axes.y(float(y)), 3.6) for x, y in zip(predicted, true, strict=True)]
    zero = [axes.level(0.0, "", "zero")] if axes.y.low < 0 < axes.y.high else []
    if axes.x.low < 0 < axes.x.high:
        x = axes.x(0.0)
        zero.append(node("line", x1=x, x2=x, y1=axes.y.start, y2=axes.y.end, class_="level zero"))
    return Chart(title, picture(400, 270, title, note, axes.drawn(), *zero, *dots), note)


def _rank(entry: Any) -> str:
    """Spearman's rank correlation with its interval, as text."""
    value = number(entry.get("correlation")) if isinstance(entry, dict) else None
    if value is None:
        return "no rank correlation, as nothing varies"
    ends = entry.get("ci95")
    low, high = (number(end) for end in ends) if isinstance(ends, list) and len(ends) == 2 else (None, None)
    return f"rank correlation {value:.2f}" + ("" if low is None or high is None else f", 95 % interval [{low:.2f}, {high:.2f}]").replace(
        "-", "−"
    )
