"""The front of a search: trials of which none is beaten in both, as a table to be read and as files."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qprune_cli.record.folder import Folder
from qprune_cli.types import Measure

NOTE = (
    "The search has chosen by the held-out images, so their column flatters; the test images it has not seen. "
    "To choose a row by its test would spoil that."
)


@dataclass(frozen=True)
class Row:
    """A network of the front, or the dense one.

    Attributes:
        worth: what it is worth, by name (see ``judge.Worth``).
        command: the command that repeats it; "the dense network" for that.
        folder: of its run.
    """

    worth: Mapping[str, Any]
    command: str
    folder: str = ""


def command(words: Sequence[str]) -> str:
    """The command that repeats a trial, quoted for a shell.

    Example:
        >>> command(["scorer=gram", "limits={a: [1, 8]}"])
        "qprune run scorer=gram 'limits={a: [1, 8]}'"
    """
    return shlex.join(["qprune", "run", *words])


def cells(measure: Measure, row: Row) -> list[str]:
    """The texts of a row, one for each of ``heads``; qualities in the unit of the measure, multiply-accumulates in thousand millions."""
    worth = row.worth
    test, low, high = (measure.number(worth[name]) for name in ("test", "low", "high"))
    macs = f"{worth['macs'] / 1e9:.3f} G"
    return [
        measure.text(worth["held_out"]),
        f"{worth['share']:.3f}",
        macs,
        f"{test} {measure.unit}".rstrip(),
        f"[{low}, {high}]",
        row.command,
    ]


def heads(measure: Measure) -> list[str]:
    """The titles of the columns, in the order of ``cells``."""
    return [f"{measure.title} held out", "MACs share", "MACs", "test", "95 % interval", "repeat it"]


def terminal(measure: Measure, rows: Sequence[Row]) -> str:
    """The table as text whose columns are aligned, for a terminal."""
    lines = [heads(measure), *(cells(measure, row) for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]) - 1)]
    return "\n".join("  ".join([*(cell.rjust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]) for line in lines)


def markdown(title: str, measure: Measure, rows: Sequence[Row], summary: str) -> str:
    """The table in markdown, with the summary and what its figures are worth below it."""
    lines = [heads(measure), ["---"] * len(heads(measure))]
    lines += [[*most, f"`{last}`"] for *most, last in (cells(measure, row) for row in rows)]
    return "\n".join([f"# {title}", "", *(f"| {' | '.join(line)} |" for line in lines), "", summary, "", NOTE, ""])


def plain(measure: Measure, row: Row) -> dict[str, Any]:
    """A row in plain numbers by column, as front.csv has them."""
    worth, name = row.worth, measure.name
    test = {f"test_{name}": worth["test"], f"test_{name}_low": worth["low"], f"test_{name}_high": worth["high"]}
    held_out = {f"held_out_{name}": worth["held_out"], "macs_share": worth["share"], "macs": worth["macs"]}
    return held_out | test | {"command": row.command, "folder": row.folder}


def write_front(folder: Path, measure: Measure, rows: Sequence[Row], summary: str) -> None:
    """Write front.csv and front.md, each only when complete.

    Args:
        folder: of the search.
        measure: what networks are judged by.
        rows: the front, and the dense network as the last one.
        summary: how the search stands, in one line.
    """
    files = Folder(folder)
    files.table("front.csv", [plain(measure, row) for row in rows])
    files.text("front.md", markdown(folder.name, measure, rows, summary))
