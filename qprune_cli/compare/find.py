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
Key = tuple[int, int]  # device and inode of a folder, which links share


@dataclass(frozen=True, eq=False)
class ResultFolder:
    """A folder that qprune has written.

    Attributes:
        path: where it is.
        kind: run, training or evaluation.
        config: as in config.yaml; None where that is missing or damaged.
    """

    path: Path
    kind: str
    config: dict[str, Any] | None


def find(paths: Sequence[Path]) -> list[ResultFolder]:
    """All runs in or below some folders, finished or not, sorted within each path; links are followed, and nothing is met twice.

    Raises:
        UserError: a path does not exist, or there is no run below it.
    """
    folders: dict[Key, ResultFolder | None] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such folder; give the folder of a run, of a sweep, or one above them")
        if not path.is_dir():
            raise UserError(f"{path}: a file; give the folder of a run, of a sweep, or one above them")
        met: dict[Key, ResultFolder | None] = {}
        below = list(_below(path, met))
        if not any(folder.kind == "run" for folder in below):
            raise UserError(f"{path}: {_instead(path, below)}; give the folder of a `qprune run` or of a sweep")
        for key, folder in met.items():
            folders.setdefault(key, folder)
    return [folder for folder in folders.values() if folder is not None and folder.kind == "run"]


def _instead(path: Path, folders: list[ResultFolder]) -> str:
    """What a folder is that holds no run."""
    if folders and folders[0].path == path:
        return f"{KINDS[folders[0].kind]}, not of a run"
    counts = {kind: sum(folder.kind == kind for folder in folders) for kind in KINDS}
    others = [f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in counts.items() if count]
    return "holds no run" + (f", only {' and '.join(others)}" if others else "")


def _below(path: Path, met: dict[Key, ResultFolder | None]) -> Iterator[ResultFolder]:
    """What a folder is, or else what lies below it; whatever is looked at is noted in ``met``."""
    try:
        status = path.stat()
        entries = set(os.listdir(path))  # noqa: PTH208  (names are all that is needed)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give another folder") from error
    if (status.st_dev, status.st_ino) in met:
        return
    folder = _recognized(path, entries)
    met[status.st_dev, status.st_ino] = folder
    if folder is not None:
        yield folder
        return
    for name in sorted(entries):
        if not name.startswith(".") and (path / name).is_dir():
            yield from _below(path / name, met)


def _recognized(path: Path, entries: set[str]) -> ResultFolder | None:
    """What a folder is by its config.yaml; None where qprune has not written it."""
    if "config.yaml" not in entries:
        return ResultFolder(path, "run", None) if "failed.json" in entries else None
    unclear = ResultFolder(path, "run", None) if {"failed.json", *OF_A_RUN} & entries else None
    try:
        config = read_settings(path)
    except Unreadable:
        return unclear
    parts = config.get("components")
    if isinstance(parts, dict):
        for kind, is_one in (("run", "solver" in parts), ("training", "train" in parts), ("evaluation", "run" in config)):
            if is_one:
                return ResultFolder(path, kind, config)
    return ResultFolder(path, "evaluation", config) if {"run", "data"} <= config.keys() else unclear
