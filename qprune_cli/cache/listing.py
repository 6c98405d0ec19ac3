"""What the cache of a user holds, and how it is emptied."""

import json
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qprune_cli.cache.store import NOTES
from qprune_cli.errors import UserError, nearest
from qprune_cli.places import cache_home

SECONDS_A_DAY = 86400
ABANDONED = 3600  # seconds after which a file that was never finished belongs to nobody


@dataclass(frozen=True)
class Kept:
    """One file of the user's cache.

    Attributes:
        path: where.
        kind: of results, or ``patches`` of images.
        size: bytes.
        days: since it was last of use.
    """

    path: Path
    kind: str
    size: int
    days: float

    @property
    def text(self) -> str:
        """What it is and the seconds that it saves; empty where it does not say so."""
        try:
            with np.load(self.path) as file:
                about = json.loads(str(file[NOTES]))
            return f"{about['told']}: {about['seconds']:.1f} s"
        except (OSError, ValueError, KeyError, EOFError):
            return ""


def kept(home: Path | None = None) -> list[Kept]:
    """All files of the cache, those that were used last first."""
    return sorted(_files(home or cache_home()), key=lambda one: one.days)


def listing(kinds: Collection[str] = (), every: bool = False) -> str:
    """A line for each kind; with ``every`` a line for each result below it.

    Raises:
        UserError: no such kind.
    """
    home = cache_home()
    if home.exists() and not home.is_dir():
        raise UserError(f"QPRUNE_CACHE={home}: a file; give a folder")
    chosen = _chosen(kept(home), kinds)
    lines = [f"{home}: {_size(chosen) if chosen else 'nothing is kept'}"]
    for kind in sorted({one.kind for one in chosen}):
        files = [one for one in chosen if one.kind == kind]
        lines.append(f"  {kind:<10}{_files_of(files):>12}{_size(files):>12}   used {_age(files[0].days)} to {_age(files[-1].days)} ago")
        lines += [f"    {one.text or one.path.name}, {_size([one])}, {_age(one.days)} ago" for one in files] if every else []
    return "\n".join(lines)


def clear(kinds: Collection[str] = (), days: float = 0.0) -> str:
    """Delete what was not used for so many days; runs that are at work are not harmed, they compute it anew.

    Raises:
        UserError: no such kind, or a file cannot be deleted.
    """
    gone = [one for one in _chosen(kept(), kinds) if one.days >= days]
    for one in gone:
        try:
            one.path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{one.path}: cannot be deleted ({error.strerror}); make the folder writable") from error
    return f"{cache_home()}: {_files_of(gone)} deleted, {_size(gone)}"


def _files(home: Path) -> Iterator[Kept]:
    """Results, and what the readers of image files keep; what is being written just now belongs to its writer."""
    folders = {f"results/{folder.name}": folder.name for folder in (home / "results").glob("*")}
    for name, kind in (folders | {"patches": "patches", "known": "patches"}).items():
        for path in (home / name).glob("*"):
            with suppress(OSError):  # deleted meanwhile
                state = path.stat()
                old = time.time() - max(state.st_mtime, state.st_atime if kind == "patches" else 0)
                if path.suffix != ".lock" and ("unfinished" not in path.name or old > ABANDONED):
                    yield Kept(path, kind, state.st_size, max(0.0, old) / SECONDS_A_DAY)


def _chosen(every: list[Kept], kinds: Collection[str]) -> list[Kept]:
    valid = {one.kind for one in every} | {"scores", "quality", "fidelity", "patches"}
    for kind in kinds:
        if kind not in valid:
            raise UserError(f"{kind}: the cache holds no such kind; {nearest(kind, valid)}")
    return [one for one in every if not kinds or one.kind in kinds]


def _files_of(files: Collection[Kept]) -> str:
    return f"{len(files):,} file{'s' if len(files) != 1 else ''}"


def _size(files: Collection[Kept]) -> str:
    size = sum(one.size for one in files)
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.0f} KiB"


def _age(days: float) -> str:
    return f"{days:.0f} d" if days >= 2 else f"{24 * days:.0f} h" if days >= 1 / 12 else f"{1440 * days:.0f} min"
