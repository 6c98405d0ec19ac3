"""The only writer of result folders. A file appears only when it is complete; the manifest comes last."""

import csv
import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from qprune_cli.errors import UserError

LOG = logging.getLogger("qprune_cli")
LOG_FILE = "run.log"


def refuse_unwritable(folder: Path) -> None:
    """Check that a folder could be made, without making it.

    Raises:
        UserError: something else is in the way, or it may not be written.
    """
    place = folder.absolute()
    try:
        while not place.exists():
            place = place.parent
        if not place.is_dir():
            raise UserError(f"output_root={folder}: '{place}' is a file; give a folder")
        if not os.access(place, os.W_OK | os.X_OK):
            raise UserError(f"output_root={folder}: '{place}' may not be written; give another folder")
    except OSError as error:
        raise UserError(f"output_root={folder}: cannot be used ({error.strerror}); give another folder") from error


class Folder:
    """A result folder.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def fresh(parent: Path, name: str) -> "Folder":
        """Make a new folder.

        Args:
            parent: where to make it; made as well.
            name: what to call it behind the time; ``-2``, ``-3``... is added when the name is taken.

        Raises:
            UserError: the folder cannot be made.
        """
        refuse_unwritable(parent)
        stem = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{name}"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            return Folder(_fresh(parent, stem))
        except OSError as error:
            raise UserError(f"output_root: cannot make a folder in '{parent}' ({error.strerror}); give another folder") from error

    @contextmanager
    def complete(self, name: str) -> Iterator[Path]:
        """Give a temporary path to write; the file gets its name when the block ends well.

        The temporary path keeps the ending of the name, for writers that look at it.

        Raises:
            UserError: the file cannot be written.
        """
        path = self.path / name
        temporary = path.with_name(f".{hashlib.sha256(path.name.encode()).hexdigest()[:12]}.unfinished{path.suffix}")
        try:
            yield temporary
            temporary.replace(path)
        except OSError as error:
            why = error.strerror or error
            raise UserError(f"{path}: cannot be written ({why}); make room, or give another folder") from error
        finally:
            temporary.unlink(missing_ok=True)

    def text(self, name: str, text: str) -> None:
        """Write a text file."""
        with self.complete(name) as path:
            path.write_text(text)

    def json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON file; NumPy numbers and arrays become plain ones."""
        self.text(name, json.dumps(value, indent=2, default=_plain, allow_nan=False) + "\n")

    def arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write a compressed .npz file."""
        with self.complete(name) as path:
            np.savez_compressed(path, **arrays)  # type: ignore[arg-type]

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a CSV file; the columns are the keys of the first row."""
        with self.complete(name) as path, path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else [])
            writer.writeheader()
            writer.writerows(rows)

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file so far, by its name below the folder; the log and what is hidden left out."""
        paths = sorted(path for path in self.path.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {path.relative_to(self.path).as_posix(): file_digest(path) for path in paths if path.name != LOG_FILE}

    @contextmanager
    def log(self) -> Iterator[None]:
        """Write what the program logs meanwhile to run.log, an unexpected error with its traceback included.

        Raises:
            UserError: another process is at work in this folder.
        """
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise UserError(f"{self.path}: another process is at work in this folder; wait until it ends") from error
        handler = logging.FileHandler(self.path / LOG_FILE)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        LOG.addHandler(handler)
        try:
            yield
        except BaseException:
            # Into the file alone: the terminal is told by whoever catches it.
            handler.emit(LOG.makeRecord(LOG.name, logging.ERROR, __file__, 0, "stopped before the end", (), sys.exc_info()))
            raise
        finally:
            LOG.removeHandler(handler)
            handler.close()
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """SHA-256 of the content of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fresh(parent: Path, stem: str) -> Path:
    """Make a folder that did not exist; two processes never get the same one."""
    count = 1
    while True:
        path = parent / (stem if count == 1 else f"{stem}-{count}")
        try:
            path.mkdir()
            return path
        except FileExistsError:
            count += 1


def _plain(value: object) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} does not go into JSON")
