"""The page of one run: what is shown of it, in order."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qprune_cli.compare.measure import measure_of
from qprune_cli.record.read import DAMAGES
from qprune_cli.report import headline
from qprune_cli.report.chart import Chart
from qprune_cli.report.crops import Example, examples
from qprune_cli.report.facts import Facts, Interval, Row, between, facts
from qprune_cli.report.fidelity import fidelity_charts
from qprune_cli.report.layers import chosen, kept_charts, layers, pairs_chart, scores_chart
from qprune_cli.report.page import render
from qprune_cli.report.parts import Fault, Parts
from qprune_cli.report.quality import Cost, Point, quality_chart
from qprune_cli.report.reference import methods
from qprune_cli.report.repeat import repeat_command, typed
from qprune_cli.report.scale import short
from qprune_cli.report.search import epochs_chart, refinement_chart, search_charts
from qprune_cli.report.text import UNKNOWN, count, macs, ms, seconds, share, trimmed
from qprune_cli.types import Measure

COSTS = (
    Cost("macs", "MACs", "Quality against MACs", macs, lambda value: trimmed(macs(value))),
    Cost("params", "parameters", "Quality against parameters", lambda value: f"{value:,.0f}", lambda value: trimmed(macs(value))),
    Cost("latency_ms", "latency, ms", "Quality against latency", ms, short),
)
SETTINGS = ("scope", "floor", "round_to", "rounds", "granularity", "loss", "seed", "limits", "include", "exclude", "scale")
UNFINISHED = "It was stopped, or is still at work: what it has written so far is shown."


@dataclass
class _Builder:
    """Builds parts of a page; what the files do not allow becomes a fault, and the rest is shown."""

    faults: list[Fault] = field(default_factory=list)

    def __call__(self, part: str, make: Callable[[], Any], without: Any) -> Any:
        try:
            return make()
        except DAMAGES as error:
            self.faults.append(Fault(part, f"cannot be shown, its files are damaged ({type(error).__name__}: {str(error)[:120]})"))
            return without


def run_page(parts: Parts, above: str = "") -> str:
    """The HTML page of a run.

    Args:
        parts: what its folder holds.
        above: address of the page of its sweep; empty for none.
    """
    build = _Builder(list(parts.faults))
    networks: Facts | None = build("quality and sizes", lambda: facts(parts), None)
    shown: list[Example]
    shown, damaged = build("images", lambda: examples(parts, networks), ([], []))
    build.faults += [one for one in damaged if one.part not in {fault.part for fault in build.faults}]
    layer_charts: tuple[list[Chart], list[tuple[str, list[Chart]]]] = build("layers", lambda: _layers(parts), ([], []))
    values: dict[str, Any] = {
        "parts": parts,
        "above": above,
        "title": headline.network(parts),
        "headline": build("headline", lambda: headline.headline(parts, networks), headline.network(parts)),
        "cards": build("summary", lambda: headline.cards(networks) if networks else [], []),
        "verdicts": build("target", lambda: headline.verdicts(parts), []),
        "warnings": headline.warnings_of(parts),
        "state": _state(parts),
        "obtained": build("asked and obtained", lambda: headline.obtained(parts), []),
        "settings": [(name, str(parts.config[name])) for name in SETTINGS if parts.config.get(name) not in (None, [], {})],
        "components": build("methods", lambda: methods(parts.config), []),
        "facts": networks,
        "rows": build("table of the stages", lambda: [_cells(networks, row) for row in networks.rows] if networks else [], []),
        "costs": build("quality against cost", lambda: cost_charts(networks) if networks else [], []),
        "examples": shown,
        "layers": layer_charts[0],
        "chosen": layer_charts[1],
        "search": build("search", lambda: search_charts(parts), []),
        "refinement": build("refinement", lambda: refinement_chart(parts), None),
        "epochs": build("fine-tuning", lambda: epochs_chart(parts), None),
        "tuning": build("fine-tuning", lambda: _tuning(parts, networks), []),
        "fidelity": build("fidelity", lambda: fidelity_charts(parts), []),
        "refitted": build("re-fitting", lambda: _refitted(parts), []),
        "taken": all(row.get("taken") != "False" for row in parts.compensation),
        "transfer": build("transfer", lambda: _transfer(parts), []),
        "seconds": build("time of the stages", lambda: _seconds(parts), []),
        "made": build("versions", lambda: _made(parts), []),
        "version": build("versions", lambda: str(parts.manifest.get("versions", {}).get("qprune", "")), ""),
        "repeat": build("command", lambda: repeat_command(parts.config), ""),
        "again": shlex.join(["qprune", "run", "--from", typed(parts.folder)]),
    }
    return render("run.html", faults=build.faults, **values)


def _state(parts: Parts) -> tuple[str, str]:
    """A heading and a sentence on a run that is not finished; empty for one that is."""
    if parts.finished:
        return "", ""
    if parts.failed:
        return "This run failed", str(parts.failed.get("error") or "failed.json does not say why")
    return "This run is not finished", f"{UNFINISHED} {parts.complaint}".strip()


@dataclass(frozen=True)
class Cells:
    """A line of the table of stages, ready to be read; ``interval`` of a mean of several masks is their range."""

    row: Row
    values: list[tuple[str, str]]
    change: str
    last: bool


def _cells(networks: Facts, row: Row) -> Cells:
    values = []
    for measure in networks.measures:
        value = row.values.get(measure.name)
        values.append((UNKNOWN, "") if value is None else (measure.text(value.mean), headline.ends(measure, value).strip()))
    return Cells(row, values, headline.signed(networks.measure, row.change), row.name == networks.last)


def cost_charts(networks: Facts) -> list[Chart]:
    """The stages and baselines of a run against each cost."""
    measure, points = networks.measure, []
    names: list[str] = []
    dense = networks.row("dense")
    base = dense.values[measure.name].mean if dense and measure.name in dense.values else None
    for row in networks.rows:
        if row.kind == "identity" or measure.name not in row.values:
            continue
        low, high = _ends(row, base)
        points.append(Point(row.title, len(names), row.sizes, row.values[measure.name].mean, low, high))
        names.append(row.title)
    levels = _levels(measure, networks)
    bars = "95 % intervals of the difference to the dense network, paired by image"
    if any(row.kind == "baseline" and row.masks > 1 for row in networks.rows):
        bars += "; of baselines the range of their masks"
    charts = (quality_chart(measure, cost, points, levels, names, bars) for cost in COSTS)
    return [chart for chart in charts if chart is not None]


def _ends(row: Row, base: float | None) -> tuple[float | None, float | None]:
    if base is None or row.change is None or row.change.low is None or row.change.high is None:
        return None, None
    return base + row.change.low, base + row.change.high


def _levels(measure: Measure, networks: Facts) -> list[tuple[str, float, str]]:
    """Lines for the dense network, and for what needs none."""
    rows = [(networks.row("dense"), "dense", "dense"), (networks.row("identity"), "", "ignorant")]
    return [(name or row.title, row.values[measure.name].mean, kind) for row, name, kind in rows if row and measure.name in row.values]


def _layers(parts: Parts) -> tuple[list[Chart], list[tuple[str, list[Chart]]]]:
    """Kept filters of all layers, and scores and pairs of a few."""
    every = layers(parts)
    if not every:
        return [], []
    linear, few = parts.scores.get("linear"), []
    for layer in chosen(every) if linear is not None and len(linear) == sum(len(one.keep) for one in every) else []:
        charts = [scores_chart(layer, np.asarray(linear)), pairs_chart(layer, dict(parts.scores))]
        few.append((layer.name, [chart for chart in charts if chart is not None]))
    return kept_charts(every), few


def _tuning(parts: Parts, networks: Facts | None) -> list[tuple[str, str]]:
    """How a fine-tuning went, from metrics.json, and what is left of the difference when the dense network is trained on as well."""
    record = parts.metrics.get("finetuning")
    if not isinstance(record, dict) or not record:
        return []
    lines = []
    if networks and (change := between(parts, networks, "finetuned", "dense_finetuned")):
        lines.append(("fine-tuned − dense, trained on", f"{headline.signed(networks.measure, change)}, paired by image"))
    lines += [(name, str(record[name])) for name in ("kind", "bn", "steps") if name in record]
    for name, one in (record.get("networks") or {}).items():
        best = one.get("best") or {}
        lines.append((f"{name} network", f"stopped: {one.get('stopped', UNKNOWN)}; best at step {best.get('step', UNKNOWN)}"))
    return lines


def _refitted(parts: Parts) -> list[tuple[str, str, str, str]]:
    """Layers, the ridge of each, and the error of its outputs before and after."""
    return [
        (row["layer"], row["chosen"], share(float(row["error_before"]), 2), share(float(row["error_after"]), 2))
        for row in parts.compensation
    ]


def _transfer(parts: Parts) -> list[tuple[str, str, str, str, str]]:
    """Networks that were trained on other images: quality, difference to the transferred mask, filters, parameters."""
    record = parts.transfer
    if not record:
        return []
    measure, lines = measure_of(str(record["measure"])), []
    for name, one in record["networks"].items():
        entry = one.get("difference") or {}
        low, high = entry.get("ci95") or (None, None)
        change = headline.signed(measure, Interval(entry["mean"], low, high)) if entry else ""
        lines.append((name, measure.text(one[measure.name]["mean"]), change, count(one.get("filters")), count(one.get("params"))))
    return lines


def _seconds(parts: Parts) -> list[tuple[str, str, float]]:
    """Stages, what they took, and as a share of the longest."""
    times = {str(name): float(value) for name, value in parts.manifest.get("seconds", {}).items()}
    longest = max(times.values(), default=0) or 1.0
    return [(name, seconds(value), max(0.0, value / longest)) for name, value in times.items() if value >= 0.01] + (
        [("all", seconds(sum(times.values())), 0.0)] if times else []
    )


def _made(parts: Parts) -> list[tuple[str, str]]:
    """Device, seed, commit, conditions of the latency and versions that a run was made with."""
    manifest = parts.manifest
    lines = [
        (name, str(manifest[key]))
        for key, name in (("device", "device"), ("seed", "seed"), ("git_commit", "commit"))
        if manifest.get(key) is not None
    ]
    latency = parts.metrics.get("latency")
    if isinstance(latency, dict):
        runs, threads, shape = (latency.get(name, UNKNOWN) for name in ("runs", "threads", "shape"))
        lines.append(("latency", f"median of {runs} runs in turn with {threads} thread{'s' * (threads != 1)}, shape {shape}"))
    if parts.metrics.get("macs_definition"):
        lines.append(("MACs", str(parts.metrics["macs_definition"])))
    return lines + [(name, str(value)) for name, value in manifest.get("versions", {}).items()]
