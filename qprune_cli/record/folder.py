"""The only writer of result folders. A file appears only when it is complete; the manifest comes last."""

import csv
import errno
import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from qprune_cli.atomic import whole_file
from qprune_cli.errors import UserError

LOG = logging.getLogger("qprune_cli")
LOG_FILE = "run.log"
REPORT_FILE = "report.html"
DERIVED = (LOG_FILE, REPORT_FILE)  # may change after a run: no digest covers them
PASSING = "finetuning-"  # how states of trainings begin, which go when a run is complete
LOCK_FILE = ".lock"
LEAST_FREE = 2**18  # bytes: a run folder of the smallest network holds twice as much
PATIENCE = 1.0  # seconds: whoever only asks whether a folder is busy holds it for a moment


def refuse_unwritable(folder: Path) -> None:
    """Check that a folder could be made, without making it.

    Raises:
        UserError: something else is in the way, or it may not be written.
    """
    path = folder.absolute()
    try:
        while not path.exists():
            path = path.parent
        if not path.is_dir():
            raise UserError(f"output_root={folder}: '{path}' is a file; give a folder")
        if not os.access(path, os.W_OK | os.X_OK):
            raise UserError(f"output_root={folder}: '{path}' may not be written; give another folder")
    except OSError as error:
        raise UserError(f"output_root={folder}: cannot be used ({error.strerror}); give another folder") from error


class Busy(UserError):
    """Another process is at work in a folder."""


class NoSpace(UserError):
    """No space is left on the disk, or the user may take no more of it."""


def unwritten(path: Path, error: OSError) -> UserError:
    """The error for a user whose file or folder could not be written: ``NoSpace`` where the disk is full."""
    kind = NoSpace if error.errno in (errno.ENOSPC, errno.EDQUOT) else UserError
    return kind(f"{path}: cannot be written ({error.strerror or error}); make room, or give another folder")


def refuse_full(path: Path) -> None:
    """Refuse to begin where fewer than ``LEAST_FREE`` bytes of the disk are free.

    Raises:
        NoSpace: it says how many are.
    """
    free = shutil.disk_usage(path).free
    if free < LEAST_FREE:
        raise NoSpace(f"{path}: {free / 2**10:,.0f} KiB are left on this disk; make room, or give another folder")


class Folder:
    """A result folder: what is written in it is whole, and one process alone is at work there.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logged = False

    @staticmethod
    def at(path: Path) -> "Folder":
        """A folder of a given name, made where it is not there.

        Raises:
            UserError: it cannot be made.
        """
        refuse_unwritable(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritten(path, error) from error
        return Folder(path)

    @staticmethod
    def fresh(parent: Path, name: str) -> "Folder":
        """Make a folder that did not exist before.

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
            raise unwritten(parent, error) from error

    @contextmanager
    def complete(self, name: str) -> Iterator[Path]:
        """Give a temporary path to write; the file gets its name when the block ends well.

        The temporary path keeps the ending of the name, for writers that look at it.

        Raises:
            UserError: the file cannot be written.
        """
        path = self.path / name
        try:
            with whole_file(path) as temporary:
                yield temporary
        except OSError as error:
            raise unwritten(path, error) from error

    def text(self, name: str, text: str) -> None:
        """Write a text file, whole or not at all.

        Raises:
            UserError: it cannot be written.
        """
        with self.complete(name) as path:
            path.write_text(text)

    def json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON file; NumPy numbers and arrays become plain ones.

        Raises:
            UserError: it cannot be written.
            ValueError: a number is not finite, which JSON does not have.
        """
        self.text(name, json.dumps(value, indent=2, default=_plain, allow_nan=False) + "\n")

    def arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write a compressed .npz file of arrays by their names.

        Raises:
            UserError: it cannot be written.
        """
        with self.complete(name) as path:
            np.savez_compressed(path, **arrays)  # type: ignore[arg-type]

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a CSV file; the columns are the keys of the first row.

        Raises:
            UserError: it cannot be written.
        """
        with self.complete(name) as path, path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else [])
            writer.writeheader()
            writer.writerows(rows)

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file so far, by its name below the folder; the log, the report and what is hidden left out."""
        paths = sorted(path for path in self.path.rglob("*") if path.is_file() and not path.name.startswith("."))
        lasting = [path for path in paths if path.name not in DERIVED and not path.name.startswith(PASSING)]
        return {path.relative_to(self.path).as_posix(): file_digest(path) for path in lasting}

    @contextmanager
    def log(self) -> Iterator[None]:
        """Be the only process at work in this folder, and write what the program logs meanwhile to run.log.

        An unexpected error is written there with its traceback. A block inside such a block changes nothing.

        Raises:
            Busy: another process is at work in this folder.
            UserError: it cannot be written.
        """
        if self.logged:
            yield
            return
        with self._alone(PATIENCE):
            try:
                handler = LogFile(self.path / LOG_FILE)
            except OSError as error:
                raise unwritten(self.path, error) from error
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            LOG.addHandler(handler)
            self.logged = True
            for left in self.path.rglob(".*.unfinished*"):  # by a process that was killed
                left.unlink(missing_ok=True)
            try:
                yield
            except BaseException:
                # Into the file alone: the terminal is told by whoever catches it.
                handler.handle(LOG.makeRecord(LOG.name, logging.ERROR, __file__, 0, "stopped before the end", (), sys.exc_info()))
                raise
            finally:
                self.logged = False
                LOG.removeHandler(handler)
                with suppress(OSError):  # no space left for the last line
                    handler.close()

    @contextmanager
    def _alone(self, patience: float) -> Iterator[None]:
        lock = FileLock(self.path / LOCK_FILE, timeout=patience)
        try:
            lock.acquire()
        except Timeout as error:
            raise Busy(f"{self.path}: another process is at work in this folder; wait until it ends") from error
        except OSError as error:
            raise unwritten(self.path, error) from error
        try:
            yield
        finally:
            Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: whoever waits for it sees that it is gone
            lock.release()

    def busy(self) -> bool:
        """Whether another process is at work in this folder."""
        if not (self.path / LOCK_FILE).exists():
            return False
        try:
            with self._alone(patience=0):
                return False
        except Busy:
            return True


class LogFile(logging.FileHandler):
    """A log that may be cut short: where no space is left, the result files say so."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing of a line that could not be written."""


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
