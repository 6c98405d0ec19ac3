"""Results that several runs need, kept under the hash of all that they depend on; written whole or not at all, by one process at a time."""

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from qprune_cli.atomic import whole_file
from qprune_cli.places import cache_home

LOG = logging.getLogger("qprune_cli")
PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "pyscipopt")  # whose versions results may depend on
NOTES = "notes"  # the array that holds an entry's notes, as JSON
FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """A result: arrays, and plain values beside them.

    Attributes:
        arrays: by name.
        notes: plain values.
        seconds: what it took to compute.
        hit: whether it was there.
    """

    arrays: Mapping[str, NDArray[Any]]
    notes: Mapping[str, Any]
    seconds: float = 0.0
    hit: bool = False


@dataclass(frozen=True)
class Store:
    """A folder of results, ``KIND/HASH.npz`` each.

    Args:
        folder: where; None for nothing at all.

    Example:
        >>> Store(None).recall("sums", {"of": [1, 2]}, "of two", lambda: Entry({}, {"sum": 3})).notes["sum"]
        3
    """

    folder: Path | None

    @staticmethod
    def of_user(used: bool) -> "Store":
        """The store in this user's cache folder; where it is not to be used, one that keeps nothing."""
        return Store(cache_home() / "results" if used else None)

    def recall(self, kind: str, key: Mapping[str, Any], title: str, make: Callable[[], Entry]) -> Entry:
        """Find a result, or compute it and keep it.

        A process that computes the same result is waited for. A store that cannot be written is done without.

        Args:
            kind: of the result.
            key: plain values that it depends on; the code and the versions of libraries are added.
            title: what it is, in short, for a list.
            make: computes it.

        Returns:
            The result; ``hit`` says whether it was there, ``seconds`` what it took when it was computed.
        """
        if self.folder is None:
            return make()
        path = self.folder / kind / f"{_hash(key)}.npz"
        if (entry := _read(path)) is not None:
            return entry
        with _alone(path):
            if (entry := _read(path)) is not None:
                return entry
            start = perf_counter()
            made = make()
            _write(path, Entry(made.arrays, made.notes, round(perf_counter() - start, 3)), title)
            return made


@cache
def code_digest() -> str:
    """A hash of this package's code: results of other code are never taken."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + path.read_bytes())
    return digest.hexdigest()


def _hash(key: Mapping[str, Any]) -> str:
    whole = {"format": FORMAT, "code": code_digest(), "versions": [version(name) for name in PACKAGES], **key}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> Entry | None:
    """The entry, or None where it is not there or damaged."""
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files if name != NOTES}
            about = json.loads(str(file[NOTES]))
        with suppress(OSError):
            os.utime(path)  # the time when it was last of use
        return Entry(arrays, about["notes"], about["seconds"], hit=True)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, entry: Entry, title: str) -> None:
    about = json.dumps({"told": title, "seconds": entry.seconds, "notes": entry.notes})
    try:
        with whole_file(path) as temporary:
            np.savez(temporary, **entry.arrays, **{NOTES: np.array(about)})  # type: ignore[arg-type]
    except OSError as error:
        LOG.warning("cache: %s cannot be written (%s); what was computed is used and not kept", path.parent, error.strerror or error)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Compute an entry alone; in a folder that cannot be written, together with others."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            LOG.info("waiting for another process that computes the same %s", path.parent.name)
            lock.acquire()
    except OSError:
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink()  # while it is held: whoever waits for it sees that it is gone
        lock.release()
