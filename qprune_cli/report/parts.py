"""What a run folder holds, read as far as it can be; what is missing or damaged is noted, never fatal."""

import csv
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import yaml
from numpy.typing import NDArray

from qprune_cli.compare.content import Unreadable, read_images
from qprune_cli.compare.settings import LOADER
from qprune_cli.record.folder import LOG_FILE, file_digest
from qprune_cli.types import Floats

NEEDED = (
    *("config.yaml", "scores.npz", "problem.npz", "solution.json", "mask.npz", "model.safetensors", "plan.json", "model.pt2"),
    *("metrics.json", "metrics.csv", "images.csv", "run.log"),
)
DAMAGES = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, EOFError, BadZipFile, zlib.error)
LEAST_LARGE = 2**26  # bytes: a file of that size is not read only to see whether it was altered


class Fault(NamedTuple):
    """A part of a report that cannot be shown as it should: which, and why."""

    part: str
    why: str


@dataclass(frozen=True)
class Parts:
    """Everything that a run has left; empty where a file is not there.

    Attributes:
        folder: where it lies.
        config: settings.
        metrics: as in metrics.json.
        solution: as in solution.json.
        manifest: as in manifest.json.
        refinement: as in refinement.json.
        transfer: as in transfer.json.
        failed: as in failed.json.
        scores: arrays of scores.npz.
        problem: arrays of problem.npz.
        mask: arrays of mask.npz.
        trace: rows of trace.csv.
        epochs: rows of epochs.csv.
        compensation: rows of compensation.csv.
        names: (N,) of the test images.
        images: (N,) values of them, by stage and measure.
        crops: files in crops/.
        complaint: the last line of an error in run.log, of a run that did not finish; empty for none.
        faults: what is missing, damaged or altered.
    """

    folder: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    solution: dict[str, Any]
    manifest: dict[str, Any]
    refinement: dict[str, Any]
    transfer: dict[str, Any]
    failed: dict[str, Any]
    scores: Mapping[str, NDArray[Any]]
    problem: Mapping[str, NDArray[Any]]
    mask: Mapping[str, NDArray[Any]]
    trace: list[dict[str, str]]
    epochs: list[dict[str, str]]
    compensation: list[dict[str, str]]
    names: tuple[str, ...]
    images: Mapping[str, Mapping[str, Floats]]
    crops: tuple[Path, ...]
    complaint: str
    faults: tuple[Fault, ...]

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.manifest)


def read_parts(folder: Path, manifest: Mapping[str, Any] | None = None) -> Parts:
    """Read a run folder.

    Args:
        folder: where it lies.
        manifest: of a run that is about to write it; None to read manifest.json.
    """
    at = _Reader(folder)
    stated = at.json("manifest.json") if manifest is None else dict(manifest)
    at.check(stated)
    names, images = at.images()
    return Parts(
        folder=folder,
        config=at.yaml("config.yaml"),
        metrics=at.json("metrics.json"),
        solution=at.json("solution.json"),
        manifest=stated,
        refinement=at.json("refinement.json"),
        transfer=at.json("transfer.json"),
        failed=at.json("failed.json"),
        scores=at.arrays("scores.npz"),
        problem=at.arrays("problem.npz"),
        mask=at.arrays("mask.npz"),
        trace=at.table("trace.csv"),
        epochs=at.table("epochs.csv"),
        compensation=at.table("compensation.csv"),
        names=names,
        images=images,
        crops=tuple(sorted((folder / "crops").glob("*.png"))),
        complaint="" if stated else at.complaint(),
        faults=tuple(at.faults.values()),
    )


@dataclass
class _Reader:
    """Reads files of a folder and remembers what is wrong with them."""

    folder: Path
    faults: dict[str, Fault] = field(default_factory=dict)

    def note(self, name: str, why: str) -> None:
        """Note the first thing that is wrong with a file."""
        self.faults.setdefault(name, Fault(name, why))

    def check(self, manifest: Mapping[str, Any]) -> None:
        """Look whether every file is there, and as the run left it."""
        digests = manifest.get("files")
        known = digests if isinstance(digests, dict) and digests else dict.fromkeys(NEEDED)
        for name, digest in known.items():
            path = self.folder / str(name)
            try:
                if not path.is_file():
                    self.note(str(name), "is missing")
                elif digest is not None and path.stat().st_size < LEAST_LARGE and file_digest(path) != digest:
                    self.note(str(name), "was altered since the run wrote it, or is damaged")
            except OSError as error:
                self.note(str(name), f"cannot be read ({error.strerror})")
        if manifest and not (self.folder / LOG_FILE).is_file():
            self.note(LOG_FILE, "is missing")

    def _content(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.note(name, f"cannot be read ({error.strerror})")
            return None

    def json(self, name: str) -> dict[str, Any]:
        """Entries of a JSON file."""
        return self._entries(name, json.loads)

    def yaml(self, name: str) -> dict[str, Any]:
        """Entries of a YAML file."""
        return self._entries(name, partial(yaml.load, Loader=LOADER))

    def _entries(self, name: str, parse: Callable[[bytes], Any]) -> dict[str, Any]:
        content = self._content(name)
        if content is None:
            return {}
        try:
            found = parse(content)
        except (yaml.YAMLError, ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self.note(name, "is damaged")
            return {}
        return found

    def complaint(self) -> str:
        """What ended the run, as far as its log says so."""
        lines = (self._content(LOG_FILE) or b"").decode(errors="replace").splitlines()
        errors = [k for k, line in enumerate(lines) if " ERROR " in line]
        return f"The log ends with: {lines[-1].strip()}" if errors else ""

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Arrays of an .npz file; never a pickle."""
        if not (self.folder / name).is_file():
            return {}
        try:
            with np.load(self.folder / name) as file:
                return {key: file[key] for key in file.files}
        except DAMAGES:
            self.note(name, "is damaged")
            return {}

    def table(self, name: str) -> list[dict[str, str]]:
        """Rows of a CSV file."""
        content = self._content(name)
        if content is None:
            return []
        try:
            rows = list(csv.DictReader(content.decode().splitlines()))
        except (ValueError, csv.Error):
            self.note(name, "is damaged")
            return []
        if any(None in row or None in row.values() for row in rows):
            self.note(name, "is damaged: rows are cut")
        return [row for row in rows if None not in row and None not in row.values()]

    def images(self) -> tuple[tuple[str, ...], Mapping[str, Mapping[str, Floats]]]:
        """Names and values of the test images."""
        if not (self.folder / "images.csv").is_file():
            return (), {}
        try:
            return read_images(self.folder, {})
        except Unreadable as error:
            self.note("images.csv", str(error).removeprefix("images.csv "))
            return (), {}
