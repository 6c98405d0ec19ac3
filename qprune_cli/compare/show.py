"""Tables to be read: on a terminal, and in markdown."""

from collections.abc import Iterable, Iterator, Sequence

from qprune_cli.compare.columns import GAP, Column, columns, fitting
from qprune_cli.compare.measure import measure_of
from qprune_cli.compare.table import Table

APART = "these tables were measured on other images, or by other measures: what lies in different ones is not comparable"

SHARES = "filters, params, MACs and latency ratio are shares of the dense network's"


def terminal(tables: Sequence[Table], more: Iterable[str]) -> str:
    """All tables with aligned columns, what is to be known of each beneath it, and at last what was left out."""
    parts = []
    for table in tables:
        shown = shown_keys(table, tables)
        fit, gone = fitting(columns(table, shown))
        parts.append("\n".join([heading(table, shown), *_aligned(fit), *_lines(table, gone)]))
    return "\n\n".join([*parts, "\n".join(_last(tables, more))]).rstrip()


def markdown(tables: Sequence[Table], more: Iterable[str]) -> str:
    """All tables in Markdown, with the notes of each beneath it, and at last what was left out."""
    parts = []
    for table in tables:
        shown = shown_keys(table, tables)
        fit, gone = fitting(columns(table, shown))
        notes = [f"- {line}" for line in _lines(table, gone)]
        parts.append("\n".join([f"### {heading(table, shown)}", "", *_piped(fit), *([""] if notes else []), *notes]))
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in _last(tables, more))]).rstrip()


def heading(table: Table, shown: Sequence[str]) -> str:
    """Data, images, stage and measures of a table, and the settings that all of its rows share."""
    first, measure = table.block.first, measure_of(table.measure)
    shared = [f"{key}={table.rows[0].keys[k]}" for k, key in enumerate(table.keys) if key != "data" and key not in shown]
    without = f"without a network {measure.text(float(first.qualities['identity'][table.measure].mean()))}"
    dense = {measure.text(row.dense) for row in table.rows}
    levels = f"{without}, dense {next(iter(dense))}" if len(dense) == 1 else without
    images = f"{len(first.images)} image{'s' if len(first.images) != 1 else ''}"
    titles = " and ".join(measure_of(name).title for name in first.measures)
    return "; ".join([f"data={first.settings.get('data', '')}", *shared, images, titles, f"stage {table.stage}", levels])


def shown_keys(table: Table, tables: Sequence[Table]) -> list[str]:
    """The keys that are columns; where there are several tables, what all rows of one share stands in its heading."""
    return list(table.keys if len(tables) == 1 else table.varying)


def _lines(table: Table, gone: Sequence[str]) -> list[str]:
    several = any(len(row.by_seed) > 1 for row in table.rows)
    seeds = "; ± is half of the 95 % interval over seeds (Student's t)" if several else ""
    return [SHARES + seeds, *table.lines, *([f"left out to fit, to be found in --csv: {', '.join(gone)}"] if gone else [])]


def _last(tables: Sequence[Table], more: Iterable[str]) -> list[str]:
    return [*([APART] if len(tables) > 1 else []), *more]


def _aligned(shown: Sequence[Column]) -> Iterator[str]:
    """Words to the left, numbers to the right."""
    made = []
    for column in shown:
        side = ">" if column.is_number else "<"
        made.append([f"{cell:{side}{column.wide}}" for cell in (column.title, *column.cells)])
    return ((" " * GAP).join(line).rstrip() for line in zip(*made, strict=True))


def _piped(shown: Sequence[Column]) -> Iterator[str]:
    yield f"| {' | '.join(column.title for column in shown)} |"
    yield "|---" * len(shown) + "|"
    for line in zip(*(column.cells for column in shown), strict=True):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |"
