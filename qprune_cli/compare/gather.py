"""Found folders -> the runs that can be compared, and why the others cannot."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qprune_cli.compare.find import ResultFolder
from qprune_cli.compare.run import Run, read_run
from qprune_cli.compare.settings import flat
from qprune_cli.record.read import Unreadable, read_json

FEW = 5  # folders that are named before the others are only counted


@dataclass(frozen=True, eq=False)
class LeftOut:
    """A run that is not compared.

    Attributes:
        folder: where it lies.
        state: unfinished, failed or unreadable.
        why: one sentence; empty for unfinished ones.
        settings: as of a run; empty where config.yaml is missing or damaged.
    """

    folder: Path
    state: str
    why: str
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Gathered:
    """Runs that can be compared, and those that cannot."""

    runs: tuple[Run, ...]
    left_out: tuple[LeftOut, ...]

    def lines(self) -> list[str]:
        """What is left out, one line for each state."""
        return [line for state in STATES if (line := _line(state, [one for one in self.left_out if one.state == state]))]


STATES = {
    "failed": "failed",
    "unfinished": "unfinished (or still at work), left out",
    "unreadable": "damaged, altered or of another schema, left out",
}


def gather(folders: Sequence[ResultFolder]) -> Gathered:
    """Read every run that can be read, and say of every other one why it cannot."""
    every = [_one(folder) for folder in folders]
    return Gathered(tuple(one for one in every if isinstance(one, Run)), tuple(one for one in every if isinstance(one, LeftOut)))


def named(names: Iterable[str], separator: str = ", ", few: int = FEW) -> str:
    """The first few names, and how many more there are.

    Example:
        >>> named(["a", "b", "c", "d"], few=2)
        'a, b and 2 more'
    """
    every = list(names)
    return separator.join(every[:few]) + (f" and {len(every) - few} more" if len(every) > few else "")


def _one(folder: ResultFolder) -> Run | LeftOut:
    path, settings = folder.path, {} if folder.config is None else flat(folder.config)
    if not (path / "manifest.json").is_file():
        if (path / "failed.json").is_file():
            return LeftOut(path, "failed", _failure(path), settings)
        return LeftOut(path, "unfinished", "", settings)
    try:
        return read_run(folder)
    except Unreadable as error:
        return LeftOut(path, "unreadable", str(error), settings)


def _failure(folder: Path) -> str:
    try:
        return str(read_json(folder, "failed.json")["error"])
    except (Unreadable, KeyError):
        return "failed.json is damaged"


def _line(state: str, those: list[LeftOut]) -> str:
    if not those:
        return ""
    names = [f"{one.folder}: {one.why}" if one.why else str(one.folder) for one in those]
    return f"{len(those)} {STATES[state]}: {named(names, '; ' if those[0].why else ', ')}"
