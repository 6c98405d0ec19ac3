"""What a run folder holds, read as far as it can be; what is missing or damaged is noted, never fatal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from numpy.typing import NDArray

from qprune_cli.record.folder import LOG_FILE, file_digest
from qprune_cli.record.read import Unreadable, read_arrays, read_content, read_images, read_json, read_rows, read_settings
from qprune_cli.types import Floats

NEEDED = (
    *("config.yaml", "scores.npz", "problem.npz", "solution.json", "mask.npz", "model.safetensors", "plan.json", "model.pt2"),
    *("metrics.json", "metrics.csv", "images.csv", "run.log"),
)
Value = TypeVar("Value")
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
    """Read a run folder as far as it can be read.

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
        config=at.settings(),
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
        expected = digests if isinstance(digests, dict) and digests else dict.fromkeys(NEEDED)
        for name, digest in expected.items():
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

    def read(self, read: Callable[[], Value], without: Value) -> Value:
        """What a reader gives; ``without`` where the file is not there, or is not as it should be, which is noted."""
        try:
            return read()
        except Unreadable as error:
            cause = error.__cause__
            if not isinstance(cause, OSError):
                self.note(error.name, "is damaged")
            elif not isinstance(cause, FileNotFoundError):
                self.note(error.name, f"cannot be read ({cause.strerror})")
            return without

    def read_file(self, name: str, read: Callable[[], Value], without: Value) -> Value:
        """As ``read``, of a file that need not be there; what is noted is the reader's own sentence."""
        if not (self.folder / name).is_file():
            return without
        try:
            return read()
        except Unreadable as error:
            self.note(name, error.why)
            return without

    def json(self, name: str) -> dict[str, Any]:
        """Entries of a JSON file; empty where it is not there or damaged."""
        return self.read(lambda: read_json(self.folder, name), {})

    def settings(self) -> dict[str, Any]:
        """Entries of config.yaml; empty where it is not there or damaged."""
        return self.read(lambda: read_settings(self.folder), {})

    def complaint(self) -> str:
        """What ended the run, as far as its log says so."""
        lines = self.read(lambda: read_content(self.folder, LOG_FILE), b"").decode(errors="replace").splitlines()
        errors = [k for k, line in enumerate(lines) if " ERROR " in line]
        return f"The log ends with: {lines[-1].strip()}" if errors else ""

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Arrays of an .npz file; empty where it is not there or damaged."""
        return self.read_file(name, lambda: read_arrays(self.folder, name), {})

    def table(self, name: str) -> list[dict[str, str]]:
        """Rows of a CSV file that are whole; those that are cut are noted."""
        rows: list[dict[str, str]] = self.read(lambda: read_rows(self.folder, name), [])
        whole = [row for row in rows if None not in row and None not in row.values()]
        if len(whole) < len(rows):
            self.note(name, "is damaged: rows are cut")
        return whole

    def images(self) -> tuple[tuple[str, ...], Mapping[str, Mapping[str, Floats]]]:
        """Names of the N test images, and their (N,) values by stage and measure."""
        none: tuple[tuple[str, ...], dict[str, dict[str, Floats]]] = ((), {})
        return self.read_file("images.csv", lambda: read_images(self.folder), none)
