"""Found folders -> the runs that can be compared, and why the others cannot."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qprune_cli.compare.find import Place
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
        settings: as of a run; empty where they are not known.
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


def gather(places: Sequence[Place]) -> Gathered:
    """Read every run that can be read."""
    found = [_one(place) for place in places]
    return Gathered(tuple(one for one in found if isinstance(one, Run)), tuple(one for one in found if isinstance(one, LeftOut)))


def named(names: Iterable[str], separator: str = ", ", few: int = FEW) -> str:
    """The first few names, and how many more there are.

    Example:
        >>> named(["a", "b", "c", "d"], few=2)
        'a, b and 2 more'
    """
    every = list(names)
    return separator.join(every[:few]) + (f" and {len(every) - few} more" if len(every) > few else "")


def _one(place: Place) -> Run | LeftOut:
    folder, settings = place.folder, {} if place.config is None else flat(place.config)
    if not (folder / "manifest.json").is_file():
        if (folder / "failed.json").is_file():
            return LeftOut(folder, "failed", _sentence(folder), settings)
        return LeftOut(folder, "unfinished", "", settings)
    try:
        return read_run(place)
    except Unreadable as error:
        return LeftOut(folder, "unreadable", str(error), settings)


def _sentence(folder: Path) -> str:
    try:
        return str(read_json(folder, "failed.json")["error"])
    except (Unreadable, KeyError):
        return "failed.json is damaged"


def _line(state: str, those: list[LeftOut]) -> str:
    if not those:
        return ""
    told = [f"{one.folder}: {one.why}" if one.why else str(one.folder) for one in those]
    return f"{len(those)} {STATES[state]}: {named(told, '; ' if those[0].why else ', ')}"
