"""What a table shows of its rows: a readable part of what the csv holds."""

from collections.abc import Sequence
from math import isnan
from typing import NamedTuple

from qprune_cli.compare.measure import measure_of
from qprune_cli.compare.row import Row
from qprune_cli.compare.table import Table
from qprune_cli.types import Measure

WIDTH = 160  # characters of a line on the terminal
GAP = 2  # characters between columns


class Column(NamedTuple):
    """A column of a table: a title, a cell for each row, and when it is left out of a line that is too long: 1 first, 0 never."""

    title: str
    cells: list[str]
    goes: int = 0

    @property
    def wide(self) -> int:
        """Number of characters of the longest cell, the title included."""
        return max(map(len, (self.title, *self.cells)))

    @property
    def is_number(self) -> bool:
        """Whether some cell begins like a number, so that the column goes to the right."""
        return any(cell[:1] in set("+-.0123456789") for cell in self.cells if cell)


def columns(table: Table, keys: Sequence[str]) -> list[Column]:
    """All columns of a table; one without any value is left out.

    Args:
        table: whose rows are shown.
        keys: those of its keys that are columns.
    """
    rows, measure = table.rows, measure_of(table.measure)
    second = next(iter(rows[0].others), None)
    unit = f", {measure.unit}" if measure.unit else ""
    shown = [Column(key, [row.keys[table.keys.index(key)] for row in rows]) for key in keys]
    shown += [
        Column("runs", [_runs(row) for row in rows]),
        Column("obtained", [_number(row.obtained, 3) for row in rows], goes=6),
        Column("filters", [_number(row.sizes["filters"], 3) for row in rows], goes=4),
        Column("params", [_number(row.sizes["params"], 3) for row in rows]),
        Column("MACs", [_number(row.sizes["macs"], 3) for row in rows]),
        Column(f"{measure.title}{unit}", [_quality(row, measure) for row in rows]),
    ]
    if second is not None:
        shown.append(Column(measure_of(second).title, [measure_of(second).number(row.others[second]) for row in rows], goes=7))
    shown.append(Column("- dense", [measure.number(row.lost, "+") for row in rows]))
    if table.baseline is not None:
        shown.append(Column("- baseline", [_against(row, measure) for row in rows]))
    shown += [
        Column("latency ratio", [_number(row.sizes["latency_ms"], 2) for row in rows], goes=5),
        Column("fidelity at mask", [_number(row.fidelity, 2) for row in rows], goes=3),
        Column("gap", ["" if isnan(row.gap) else f"{row.gap:.1e}" for row in rows], goes=1),
        Column("seconds", [_number(row.seconds, 0) for row in rows], goes=2),
        Column("warnings", [f"{row.warnings}" for row in rows], goes=8),
    ]
    return [column for column in shown if any(column.cells)]


def fitting(every: Sequence[Column]) -> tuple[list[Column], list[str]]:
    """The columns that fit into a line, and the titles of those that are left out for it."""
    kept, gone = list(every), []
    for column in sorted((one for one in every if one.goes), key=lambda one: one.goes):
        if sum(one.wide + GAP for one in kept) - GAP <= WIDTH:
            break
        kept.remove(column)
        gone.append(column.title)
    return kept, gone


def _runs(row: Row) -> str:
    seeds = len(row.by_seed)
    return f"{seeds}" if seeds == len(row.runs) else f"{len(row.runs)} of {seeds} seed{'s' if seeds != 1 else ''}"


def _quality(row: Row, measure: Measure) -> str:
    half = (row.over_seeds.high - row.over_seeds.low) / 2
    return measure.number(row.quality) + ("" if isnan(half) else f" ±{measure.number(half)}")


def _against(row: Row, measure: Measure) -> str:
    difference = row.against
    if difference is None:
        return "baseline" if row.is_baseline else ""
    mean, low, high = (measure.number(value, "+") for value in (difference.mean, *difference.over_images))
    return f"{mean}* [{low}, {high}]" if difference.shown else f"{mean} (none) [{low}, {high}]"


def _number(value: float, digits: int) -> str:
    return "" if isnan(value) else f"{value:.{digits}f}"
