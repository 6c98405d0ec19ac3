"""Paths -> the folders of runs below them, each once."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qprune_cli.errors import UserError
from qprune_cli.record.read import Unreadable, read_settings

KINDS = {"training": "the folder of a training", "evaluation": "the folder of an evaluation"}
OF_A_RUN = ("manifest.json", "metrics.json", "images.csv")


@dataclass(frozen=True, eq=False)
class Place:
    """A folder that qprune has written.

    Attributes:
        folder: where it is.
        kind: run, training or evaluation.
        config: as in config.yaml; None where that is missing or damaged.
    """

    folder: Path
    kind: str
    config: dict[str, Any] | None


def find(paths: Sequence[Path]) -> list[Place]:
    """All runs in or below some folders, finished or not, sorted within each path; links are followed, and nothing is met twice.

    Raises:
        UserError: a path does not exist, or there is no run below it.
    """
    found: dict[tuple[int, int], Place | None] = {}  # by device and inode, which links share
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such folder; give the folder of a run, of a sweep, or one above them")
        if not path.is_dir():
            raise UserError(f"{path}: a file; give the folder of a run, of a sweep, or one above them")
        met: dict[tuple[int, int], Place | None] = {}
        places = list(_below(path, met))
        if not any(one.kind == "run" for one in places):
            raise UserError(f"{path}: {_instead(path, places)}; give the folder of a `qprune run` or of a sweep")
        for key, place in met.items():
            found.setdefault(key, place)
    return [place for place in found.values() if place is not None and place.kind == "run"]


def _instead(path: Path, places: list[Place]) -> str:
    """What a folder is that holds no run."""
    if places and places[0].folder == path:
        return f"{KINDS[places[0].kind]}, not of a run"
    counts = {kind: sum(place.kind == kind for place in places) for kind in KINDS}
    others = [f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in counts.items() if count]
    return "holds no run" + (f", only {' and '.join(others)}" if others else "")


def _below(folder: Path, met: dict[tuple[int, int], Place | None]) -> Iterator[Place]:
    """What a folder is, or else what lies below it."""
    try:
        status = folder.stat()
        entries = set(os.listdir(folder))  # noqa: PTH208  (names are all that is needed)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); give another folder") from error
    if (status.st_dev, status.st_ino) in met:
        return
    place = _place(folder, entries)
    met[status.st_dev, status.st_ino] = place
    if place is not None:
        yield place
        return
    for name in sorted(entries):
        if not name.startswith(".") and (folder / name).is_dir():
            yield from _below(folder / name, met)


def _place(folder: Path, entries: set[str]) -> Place | None:
    """What a folder is by its config.yaml; None where qprune has not written it."""
    if "config.yaml" not in entries:
        return Place(folder, "run", None) if "failed.json" in entries else None
    unclear = Place(folder, "run", None) if {"failed.json", *OF_A_RUN} & entries else None
    try:
        config = read_settings(folder)
    except Unreadable:
        return unclear
    parts = config.get("components")
    if isinstance(parts, dict):
        for kind, known in (("run", "solver" in parts), ("training", "train" in parts), ("evaluation", "run" in config)):
            if known:
                return Place(folder, kind, config)
    return Place(folder, "evaluation", config) if {"run", "data"} <= config.keys() else unclear
