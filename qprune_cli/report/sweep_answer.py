"""The answer of a sweep: in a sentence, in a few large numbers, and how its jobs ended."""

from collections.abc import Sequence
from math import inf, isfinite, isnan

from qprune_cli.compare.gather import Gathered, LeftOut
from qprune_cli.compare.measure import measure_of
from qprune_cli.compare.row import Row
from qprune_cli.compare.table import Table
from qprune_cli.report.facts import WITHOUT, Interval
from qprune_cli.report.headline import Card, Verdict, changed, signed, unbroken
from qprune_cli.report.text import listed, share
from qprune_cli.types import Measure


def verdicts(gathered: Gathered) -> list[Verdict]:
    """How many jobs of a sweep ended in which state, and how many warnings there are."""
    ends = [Verdict("good", listed(len(gathered.runs), "run") + " finished")] if gathered.runs else []
    for state, kind in (("failed", "bad"), ("unfinished", "note"), ("unreadable", "bad")):
        if count := len(those(gathered, state)):
            ends.append(Verdict(kind, f"{count} {state}"))
    warnings = sum(run.warnings for run in gathered.runs)
    return [*ends, Verdict("note", listed(warnings, "warning"))] if warnings else ends


def those(gathered: Gathered, state: str) -> list[LeftOut]:
    """The runs that are left out because they are failed, unfinished or unreadable."""
    return [one for one in gathered.left_out if one.state == state]


def headline(gathered: Gathered, tables: Sequence[Table]) -> str:
    """The answer of a sweep in a sentence: the smallest network that loses nothing that shows, or the one that loses least."""
    if not tables:
        return "No run has finished"
    table = tables[0]
    measure, safe = measure_of(table.measure), smallest_safe(table)
    others = f" ({listed(len(tables), 'table')}: what lies in different ones is not comparable)" if len(tables) > 1 else ""
    if safe is not None:
        size = f"{share(safe.sizes['macs'])} of the MACs and {share(safe.sizes['params'])} of the parameters without a shown loss"
        return unbroken(f"{name(table, safe)} needs {size}: {lost(measure, safe)} against dense{others}")
    best = max(table.rows, key=lambda row: row.lost if isfinite(row.lost) else -inf)
    quality = f"{measure.text(best.quality)}, {lost(measure, best)} against dense, with {share(best.sizes['macs'])} of the MACs"
    return unbroken(f"Every setting loses something; {name(table, best)} least: {quality}{others}")


def smallest_safe(table: Table) -> Row | None:
    """The row with the fewest multiply-accumulates whose loss against the dense network is not shown: its interval reaches 0."""
    safe = [row for row in table.rows if isfinite(row.sizes["macs"]) and row.lost_ends.high >= 0]
    return min(safe, key=lambda row: (row.sizes["macs"], -row.lost), default=None)


def lost(measure: Measure, row: Row) -> str:
    """The difference of a row to the dense network, with its interval."""
    return signed(measure, Interval(row.lost, *(None if isnan(end) else end for end in row.lost_ends)))


def name(table: Table, row: Row) -> str:
    """What a row is called: the settings in which it differs from others."""
    words = " ".join(f"{key}={value}" for key, value in zip(table.keys, row.keys, strict=True) if key in table.varying)
    return words or str(row.runs[0].settings.get("solver", "this setting"))


def cards(gathered: Gathered, tables: Sequence[Table]) -> list[Card]:
    """The large numbers of a sweep: the smallest networks, the best quality, the dense network, and how many runs finished."""
    jobs = len(gathered.runs) + len(gathered.left_out)
    done = Card("Runs finished", f"{len(gathered.runs)} of {jobs}", listed(sum(len(table.rows) for table in tables), "setting"), "")
    if not tables:
        return [done]
    table = tables[0]
    measure, rows = measure_of(table.measure), [row for row in table.rows if isfinite(row.quality)]
    if not rows:
        return [done]
    dense, best = rows[0].dense, max(rows, key=lambda row: row.lost)
    ignorant = float(table.block.first.qualities["identity"][table.measure].mean())
    last = min(rows, key=lambda row: (row.sizes["macs"] if isfinite(row.sizes["macs"]) else inf, -row.lost))
    safe = smallest_safe(table)
    made = [] if safe is None else [_macs_card("Fewest MACs without a shown loss", table, safe, "main")]
    made.append(
        Card(
            "Nearest to dense",
            measure.text(best.quality),
            changed(measure, Interval(best.lost)),
            _sized(table, best),
            "" if made else "main",
        )
    )
    made.append(_macs_card("Fewest MACs of all", table, last, ""))
    without = WITHOUT.get(table.measure, "without a network")
    return [*made, Card(f"Dense, {measure.title}", measure.text(dense), "", f"{without} {measure.text(ignorant)}"), done]


def _macs_card(label: str, table: Table, row: Row, kind: str) -> Card:
    return Card(label, unbroken(share(row.sizes["macs"])), changed(measure_of(table.measure), Interval(row.lost)), _sized(table, row), kind)


def _sized(table: Table, row: Row) -> str:
    return unbroken(f"{name(table, row)}\n{share(row.sizes['macs'])} of MACs, {share(row.sizes['params'])} of parameters")
