"""Whether the scores predict the loss: every swap as a dot, predicted against true."""

from typing import Any

import numpy as np

from qprune_cli.report.axes import Axes
from qprune_cli.report.chart import Chart
from qprune_cli.report.marker import marker
from qprune_cli.report.parts import Parts
from qprune_cli.report.said import listed, number
from qprune_cli.report.scale import around
from qprune_cli.report.svg import node, picture

TITLES = {"solved": "Scores as they were solved with", "at_mask": "Scores taken anew at the mask"}


def fidelity_charts(parts: Parts) -> list[Chart]:
    """One for the scores that were solved with, one for those at the mask, where swaps were measured."""
    told = parts.solution.get("fidelity")
    if not isinstance(told, dict) or not told.get("true"):
        return []
    return [chart for name, title in TITLES.items() if (chart := _chart(told, name, title)) is not None]


def _chart(told: dict[str, Any], name: str, title: str) -> Chart | None:
    true, predicted = np.array(told["true"], float), np.array(told["predicted"].get(name, ()), float)
    if true.shape != predicted.shape or not np.isfinite([true, predicted]).all():
        return None
    axes = Axes.over(around(predicted, 0.08), around(true, 0.08), ("predicted change of the damage", "true change of the loss"))
    said = f"{listed(len(true), 'swap')} of a kept and a dropped filter; {_rank(told.get(name))}."
    dots = [marker(0, axes.x(float(x)), axes.y(float(y)), 3.6) for x, y in zip(predicted, true, strict=True)]
    zero = [axes.level(0.0, "", "zero")] if axes.y.low < 0 < axes.y.high else []
    if axes.x.low < 0 < axes.x.high:
        x = axes.x(0.0)
        zero.append(node("line", x1=x, x2=x, y1=axes.y.start, y2=axes.y.end, class_="level zero"))
    return Chart(title, picture(400, 270, title, said, axes.drawn(), *zero, *dots), said)


def _rank(entry: Any) -> str:
    """Spearman's correlation with its interval."""
    value = number(entry.get("correlation")) if isinstance(entry, dict) else None
    if value is None:
        return "no rank correlation, as nothing varies"
    ends = entry.get("ci95")
    low, high = (number(end) for end in ends) if isinstance(ends, list) and len(ends) == 2 else (None, None)
    return f"rank correlation {value:.2f}" + ("" if low is None or high is None else f", 95 % interval [{low:.2f}, {high:.2f}]").replace(
        "-", "−"
    )
