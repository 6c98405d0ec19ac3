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
        found: what it is worth, by name (see ``Found``).
        command: repeats it; of the dense network what it is called.
        folder: of its run.
    """

    found: Mapping[str, Any]
    command: str
    folder: str = ""


def command(words: Sequence[str]) -> str:
    """What repeats a trial.

    Example:
        >>> command(["scorer=gram", "limits={a: [1, 8]}"])
        "qprune run scorer=gram 'limits={a: [1, 8]}'"
    """
    return shlex.join(["qprune", "run", *words])


def cells(measure: Measure, row: Row) -> list[str]:
    """What a row shows."""
    found = row.found
    test, low, high = (measure.number(found[name]) for name in ("test", "low", "high"))
    macs = f"{found['macs'] / 1e9:.3f} G"
    return [
        measure.text(found["held_out"]),
        f"{found['share']:.3f}",
        macs,
        f"{test} {measure.unit}".rstrip(),
        f"[{low}, {high}]",
        row.command,
    ]


def heads(measure: Measure) -> list[str]:
    """What stands above them."""
    return [f"{measure.title} held out", "MACs share", "MACs", "test", "95 % interval", "repeat it"]


def terminal(measure: Measure, rows: Sequence[Row]) -> str:
    """The table as aligned text."""
    lines = [heads(measure), *(cells(measure, row) for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]) - 1)]
    return "\n".join("  ".join([*(cell.rjust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]) for line in lines)


def markdown(title: str, measure: Measure, rows: Sequence[Row], told: str) -> str:
    """The table in markdown, with what is to be known of it."""
    lines = [heads(measure), ["---"] * len(heads(measure))]
    lines += [[*most, f"`{last}`"] for *most, last in (cells(measure, row) for row in rows)]
    return "\n".join([f"# {title}", "", *(f"| {' | '.join(line)} |" for line in lines), "", told, "", NOTE, ""])


def plain(measure: Measure, row: Row) -> dict[str, Any]:
    """A row in plain numbers."""
    found, name = row.found, measure.name
    test = {f"test_{name}": found["test"], f"test_{name}_low": found["low"], f"test_{name}_high": found["high"]}
    held_out = {f"held_out_{name}": found["held_out"], "macs_share": found["share"], "macs": found["macs"]}
    return held_out | test | {"command": row.command, "folder": row.folder}


def write_front(folder: Path, measure: Measure, rows: Sequence[Row], told: str) -> None:
    """Write front.csv and front.md, each only when complete.

    Args:
        folder: of the search.
        measure: what networks are judged by.
        rows: the front, and the dense network as the last one.
        told: how the search stands.
    """
    place = Folder(folder)
    place.table("front.csv", [plain(measure, row) for row in rows])
    place.text("front.md", markdown(folder.name, measure, rows, told))
