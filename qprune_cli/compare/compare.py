"""Finished runs side by side: from the paths of their folders to tables, as text or as files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import pandas as pd

from qprune_cli.compare import show
from qprune_cli.compare.blocks import blocks
from qprune_cli.compare.files import write
from qprune_cli.compare.find import find
from qprune_cli.compare.frame import frame
from qprune_cli.compare.gather import Gathered, gather, named
from qprune_cli.compare.keys import row_keys
from qprune_cli.compare.run import AT_LAST
from qprune_cli.compare.table import Table, table
from qprune_cli.compare.words import Configured, Words, pieces, select, words
from qprune_cli.errors import UserError, nearest


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs side by side; ``str`` gives the tables as the terminal shows them.

    Attributes:
        tables: one for each set of images.
        left_out: what was not compared, and why; one line for each reason.
    """

    tables: tuple[Table, ...]
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        return show.terminal(self.tables, self.left_out)

    def frame(self) -> pd.DataFrame:
        """All tables in plain numbers, one line per row."""
        return frame(self.tables)

    def csv(self) -> str:
        """All tables as the text of one CSV file, with the columns of ``frame``."""
        return self.frame().to_csv(index=False, lineterminator="\n")

    def markdown(self) -> str:
        """All tables as the text of a Markdown file."""
        return show.markdown(self.tables, self.left_out) + "\n"

    def save(self, csv: Path | None, markdown: Path | None) -> None:
        """Write the files that are wanted; None leaves one out.

        Raises:
            UserError: a file cannot be written.
        """
        if csv is not None:
            write(csv, self.csv())
        if markdown is not None:
            write(markdown, self.markdown())


def compare(
    paths: Iterable[str | Path],
    selection: Sequence[str] = (),
    by: Sequence[str] | str | None = None,
    baseline: str | None = None,
    stage: str | None = None,
    metric: str | None = None,
) -> Comparison:
    """Put finished runs side by side: one row for each setting, with means over its seeds.

    Args:
        paths: folders of runs, of sweeps, or above them.
        selection: which runs, such as ``["solver=greedy_taylor,hybrid_qubo", "sparsity=0.5"]``; empty for all.
        by: the settings that name rows, as a list or with commas; None for all that differ.
        baseline: words that say which rows the others are compared with, such as ``"solver=greedy_taylor"``.
        stage: of the network; None for the last one, which is called ``final`` where it has several names.
        metric: what to compare by; None for the first that was measured.

    Returns:
        Tables, and what was left out.

    Raises:
        UserError: no finished run is there, or nothing has what was asked for.
    """
    gathered = gather(find([Path(path) for path in paths]))
    return _compared(gathered, words(selection), by, None if baseline is None else words([baseline]), stage, metric)


def _compared(
    gathered: Gathered, wanted: Words, by: Sequence[str] | str | None, baseline: Words | None, stage: str | None, metric: str | None
) -> Comparison:
    if wanted:
        configured: list[Configured] = [*gathered.runs, *(one for one in gathered.left_out if one.settings)]
        chosen = select(configured, wanted)
        kept = {id(one) for one in chosen}
        runs = tuple(one for one in gathered.runs if id(one) in kept)
        left_out = tuple(one for one in gathered.left_out if id(one) in kept or not one.settings)
        gathered = Gathered(runs, left_out)
    if not gathered.runs:
        raise UserError(f"no finished run to compare; {'; '.join(gathered.lines())}")
    last = {run.last for run in gathered.runs}
    stage = _offered("--stage", stage, [run.stages for run in gathered.runs], next(iter(last)) if len(last) == 1 else AT_LAST)
    metric = metric and _offered("--metric", metric, [run.measures for run in gathered.runs])
    if baseline is not None:
        select(gathered.runs, baseline, "--baseline ")
    keys = row_keys(gathered.runs, pieces(by) if isinstance(by, str) else by)
    tables = tuple(table(block, keys, stage, metric or block.first.measures[0], baseline) for block in blocks(gathered.runs))
    if baseline is not None and not any(row.is_baseline for one in tables for row in one.rows):
        raise UserError(f"--baseline {named(baseline)}: every row holds other runs as well; add it to --by")
    return Comparison(tables, tuple(gathered.lines()))


def _offered(option: str, name: str | None, offers: Sequence[Sequence[str]], default: str = "") -> str:
    """The name that an option gives, if all runs offer it; without one the default where all do, or else the last that all do.

    Raises:
        UserError: some run does not offer it.
    """
    common = reduce(lambda names, offer: [one for one in names if one in offer], offers)
    if name is None:
        return default if default in common or not common else common[-1]
    if name not in common:
        some = any(name in offer for offer in offers)
        why = "not all of these runs have it, so choose runs with it by words such as data=NAME" if some else "no run has it"
        raise UserError(f"{option} {name}: {why}; {nearest(name, common)}")
    return name


def side_by_side(gathered: Gathered) -> Comparison | None:
    """All runs of a folder, by whatever they differ in; None where none has finished."""
    return _compared(gathered, {}, None, None, None, None) if gathered.runs else None


def write_tables(folder: str | Path) -> str:
    """Write table.csv and table.md into the folder of a sweep, each only when complete.

    Args:
        folder: below which the jobs of the sweep lie.

    Returns:
        The text for the terminal; where no job has finished, it says why, and no table is written.

    Raises:
        UserError: there is no job at all.
    """
    path = Path(folder)
    gathered = gather(find([path]))
    compared = side_by_side(gathered)
    if compared is None:
        return "\n".join(["no run has finished, so there is no table", *gathered.lines()])
    write(path / "table.csv", compared.csv())
    write(path / "table.md", compared.markdown())
    return str(compared)
