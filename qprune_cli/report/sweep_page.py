"""The page of a sweep, or of several runs below one folder: what the tables of `qprune compare` say, as pictures too."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from pathlib import Path
from typing import Any
from urllib.parse import quote

from qprune_cli.compare.compare import Comparison
from qprune_cli.compare.gather import Gathered
from qprune_cli.compare.measure import measure_of
from qprune_cli.compare.row import Row
from qprune_cli.compare.run import Run
from qprune_cli.compare.show import heading, shown_keys
from qprune_cli.compare.table import Table
from qprune_cli.record.folder import REPORT_FILE
from qprune_cli.record.read import Unreadable, read_json
from qprune_cli.report.chart import Chart
from qprune_cli.report.facts import WITHOUT, Facts, facts
from qprune_cli.report.page import render
from qprune_cli.report.pareto import front
from qprune_cli.report.parts import Fault, read_parts
from qprune_cli.report.quality import Cost, Point, quality_chart
from qprune_cli.report.reference import ROLES, Method, methods
from qprune_cli.report.repeat import sweep_command
from qprune_cli.report.sweep_answer import cards, headline, lost, name, those, verdicts
from qprune_cli.report.text import UNKNOWN, listed, share
from qprune_cli.types import Measure

SHARES = tuple(
    Cost(name, f"{title}, share of dense", f"Quality against {title}", lambda value: share(value, 1), lambda value: f"{value:.6g}")
    for name, title in (("macs", "MACs"), ("params", "parameters"), ("latency_ms", "latency"))
)
AMOUNTS = ("sparsity", "budget", "rounds")  # settings that say how much goes: one series has several of them
NUMBER = re.compile(r"[\d.]*\d")
MOST = 1000  # runs that are listed
FEW = 200  # runs whose warnings and baselines are read


@dataclass(frozen=True)
class Block:
    """Runs that were measured on the same images, ready to be shown.

    Attributes:
        heading: what they have in common.
        charts: quality against each cost.
        keys: settings that name rows.
        rows: what is shown of each.
        lines: what a reader should know.
        measure: what rows are compared by.
        seeds: whether some row has several.
    """

    heading: str
    charts: list[Chart]
    keys: list[str]
    rows: list["Line"]
    lines: tuple[str, ...]
    measure: Measure
    seeds: bool


@dataclass(frozen=True)
class Line:
    """A row of the table, in words."""

    keys: list[str]
    runs: str
    quality: str
    half: str
    change: str
    ends: str
    sizes: list[str]
    seconds: str
    warnings: int
    front: bool


def sweep_page(folder: Path, gathered: Gathered, compared: Comparison | None, linked: bool = True) -> str:
    """The HTML page of a sweep, or of all runs below a folder.

    Args:
        folder: below which the runs lie.
        gathered: its runs.
        compared: the finished ones side by side; None where none has finished.
        linked: whether the page lies in that folder, so that links to the runs' own pages lead there.
    """
    tables = compared.tables if compared else ()
    return render(
        "sweep.html",
        faults=[Fault(_within(folder, one.folder), one.why) for one in gathered.left_out if one.state == "unreadable"],
        folder=folder,
        headline=headline(gathered, tables),
        cards=cards(gathered, tables),
        verdicts=verdicts(gathered),
        blocks=[_block(table, tables) for table in tables],
        failed=[(_within(folder, one.folder), one.why) for one in those(gathered, "failed")[:FEW]],
        more_failed=max(0, len(those(gathered, "failed")) - FEW),
        unfinished=[_within(folder, one.folder) for one in those(gathered, "unfinished")[:FEW]],
        runs=[_listed(folder, run, linked) for run in gathered.runs[:MOST]],
        more=max(0, len(gathered.runs) - MOST),
        warnings=_warnings(gathered.runs[:FEW]),
        components=_methods(gathered),
        repeat=sweep_command(folder),
    )


def _within(folder: Path, path: Path) -> str:
    """A path as seen from a folder; as it is where it does not lie below it."""
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return str(path)


def _block(table: Table, tables: Sequence[Table]) -> Block:
    measure, keys = measure_of(table.measure), shown_keys(table, tables)
    points, series = _points(table)
    identity = float(table.block.first.qualities["identity"][table.measure].mean())
    levels = [("dense", value, "dense") for value in sorted({round(row.dense, 9) for row in table.rows if isfinite(row.dense)})[:3]]
    levels.append((WITHOUT.get(table.measure, "without a network"), identity, "ignorant"))
    baselines, names = _baselines(table, series)
    bars = "95 % intervals of the difference to the dense network, paired by image" + (
        "; of baselines the range of their masks" if baselines else ""
    )
    charts = [quality_chart(measure, cost, [*points, *baselines], levels, names, bars) for cost in SHARES]
    best = _front(table)
    rows = [_line(table, keys, row, measure, k in best) for k, row in enumerate(table.rows)]
    several = any(len(row.by_seed) > 1 for row in table.rows)
    return Block(heading(table, keys), [chart for chart in charts if chart is not None], keys, rows, table.lines, measure, several)


def _front(table: Table) -> set[int]:
    """Rows that none beats in both quality and multiply-accumulates."""
    on_front = front([(row.sizes["macs"], row.lost) for row in table.rows])
    return {k for k, yes in enumerate(on_front) if yes}


def _points(table: Table) -> tuple[list[Point], list[str]]:
    """A point for each row; those that differ only in how much goes share a sign."""
    varying = [(k, key) for k, key in enumerate(table.keys) if key in table.varying and key not in AMOUNTS]
    series: dict[str, int] = {}
    points = []
    for row in table.rows:
        sign = ", ".join(f"{key}={row.keys[k]}" for k, key in varying) or "pruned"
        low, high = (None if isnan(end) else row.dense + end for end in row.lost_ends)
        points.append(Point(name(table, row), series.setdefault(sign, len(series)), row.sizes, row.quality, low, high))
    return points, list(series)


def _baselines(table: Table, series: list[str]) -> tuple[list[Point], list[str]]:
    """Baselines that the runs have measured, each once for each size."""
    names, points, seen = list(series), [], set()
    for run in table.block.runs[:FEW]:
        networks = run_facts(run)
        dense = networks.row("dense") if networks else None
        for row in networks.rows if networks and dense else ():
            value = row.values.get(table.measure)
            if row.kind != "baseline" or value is None or dense is None:
                continue
            costs = {name: row.sizes[name] / dense.sizes[name] for name in row.sizes if dense.sizes.get(name)}
            key = (row.name, round(costs.get("params", 0), 3), round(value.mean, 6))
            if key not in seen:
                seen.add(key)
                if row.title not in names:
                    names.append(row.title)
                points.append(Point(row.title, names.index(row.title), costs, value.mean, value.low, value.high))
    return points, names


def run_facts(run: Run) -> Facts | None:
    """Networks of a run, its baselines among them; None where its files do not allow it."""
    try:
        if not read_json(run.folder, "metrics.json").get("baselines"):
            return None
        return facts(read_parts(run.folder, {"files": {}}))
    except (Unreadable, OSError, ValueError, AttributeError, LookupError, TypeError):
        return None


def _line(table: Table, keys: Sequence[str], row: Row, measure: Measure, on_front: bool) -> Line:
    half = (row.over_seeds.high - row.over_seeds.low) / 2
    change, _, rest = lost(measure, row).partition(" [")
    seeds = len(row.by_seed)
    return Line(
        [row.keys[table.keys.index(key)] for key in keys],
        f"{len(row.runs)}" if len(row.runs) == seeds else f"{len(row.runs)} of {listed(seeds, 'seed')}",
        measure.text(row.quality),
        "" if isnan(half) else f"±{measure.number(half)}",
        change,
        f"[{rest}" if rest else "",
        [_share(row.obtained), *(_share(row.sizes[size]) for size in ("params", "macs", "latency_ms"))],
        UNKNOWN if isnan(row.seconds) else f"{row.seconds:.0f}",
        row.warnings,
        on_front,
    )


def _share(value: float) -> str:
    return "" if isnan(value) else f"{value:.3f}"


def _listed(folder: Path, run: Run, linked: bool) -> tuple[str, str, str]:
    """A run, the address of its page as seen from the folder, and what its test says; no address where it has no page."""
    path = _within(folder, run.folder)
    measure = measure_of(run.measures[0])
    value = run.qualities[run.stages[-1]][run.measures[0]].mean()
    address = f"{quote(path)}/{REPORT_FILE}" if linked and (run.folder / REPORT_FILE).is_file() and not path.startswith("/") else ""
    return path, address, measure.text(float(value))


def _warnings(runs: Sequence[Run]) -> list[tuple[str, int]]:
    """What runs warn of, with the number of those that do; of warnings that differ in their numbers the first."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for run in runs:
        if not run.warnings:
            continue
        try:
            warnings = [str(one) for one in read_json(run.folder, "metrics.json")["warnings"]]
        except (Unreadable, LookupError, TypeError):
            continue
        for one in warnings:
            first.setdefault(NUMBER.sub("#", one), one)
        counts.update({NUMBER.sub("#", one) for one in warnings})
    return [(first[kind], count) for kind, count in counts.most_common()]


def _methods(gathered: Gathered) -> list[Method]:
    """Components of all runs; those that are the same under several names are one."""
    names: dict[tuple[str, str, str], dict[str, None]] = {}
    seen: set[tuple[str, str]] = set()
    for run in gathered.runs:
        components = {(role, run.settings.get(role, "")) for role in run.roles}
        for one in methods(_config(run)) if not components <= seen else ():
            names.setdefault((one.role, one.means or one.name, one.references), {})[one.name] = None
        seen |= components
    order = [*ROLES, *(role for role, _, _ in names)]
    every = [Method(role, ", ".join(those), means, references) for (role, means, references), those in names.items()]
    return sorted(every, key=lambda one: order.index(one.role))


def _config(run: Run) -> dict[str, Any]:
    """What ``methods`` reads of a configuration."""
    roles = {role: run.settings[role] for role in run.roles if role in run.settings}
    sections: dict[str, Any] = {role: {"_target_": run.settings.get(f"{role}._target_", "")} for role in roles}
    return sections | {"components": roles}
