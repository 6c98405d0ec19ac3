"""One job of a sweep: a folder whose name its settings give, so that whoever asks for the same again finds it."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import yaml

from qprune_cli.errors import MissedTarget, UserError
from qprune_cli.record.folder import Busy, Folder, NoSpace, file_digest, refuse_full
from qprune_cli.record.read import read_json

LOG = logging.getLogger("qprune_cli")
DONE, FAILED = "manifest.json", "failed.json"
ELSEWHERE = ("output_root", "cache")  # settings that change no result


class Plan(Protocol):
    """What a job does: its settings, and a name for them."""

    @property
    def title(self) -> str:
        """The first part of its folder's name, such as data, network and methods."""

    @property
    def config(self) -> dict[str, Any]:
        """Its complete settings, as config.yaml records them."""


class State(Enum):
    """Where a job stands, in the words of the terminal."""

    FINISHED = "finished"
    BUSY = "at work in another process"
    FAILED = "failed"
    OPEN = "not finished"


@dataclass(frozen=True)
class Ended:
    """How a job ended: its exit code, and what went wrong if something did.

    Attributes:
        code: what a single run would answer.
        error: one sentence; empty where nothing went wrong.
    """

    code: int = 0
    error: str = ""

    @staticmethod
    def by(error: Exception) -> "Ended":
        """How a job ended that raised an exception: code 2 for what a user can mend, else 1."""
        if isinstance(error, UserError):
            return Ended(2, str(error))
        return Ended(1, f"{type(error).__name__}: {error}".splitlines()[0])


@dataclass(frozen=True)
class Job:
    """One job of a sweep, known by its folder.

    Attributes:
        path: its folder.
    """

    path: Path

    @property
    def state(self) -> State:
        """Where it stands, as its folder says; a job whose process was killed is open again."""
        if (self.path / DONE).is_file():
            return State.FINISHED
        if Folder(self.path).busy():
            return State.BUSY
        return State.FAILED if (self.path / FAILED).is_file() else State.OPEN

    @property
    def over(self) -> bool:
        """Whether its folder says how it ended."""
        return any((self.path / name).is_file() for name in (DONE, FAILED))

    @property
    def begun(self) -> bool:
        """Whether a process began it and left nothing that says how it ended."""
        return self.state is State.OPEN and (self.path / "config.yaml").is_file()

    @property
    def ended(self) -> Ended:
        """How it ended, as its manifest.json or failed.json says; code 0 where it is not over."""
        if (self.path / DONE).is_file():
            return Ended(3 if read_json(self.path, DONE).get("missed") else 0)
        return Ended(**read_json(self.path, FAILED)) if (self.path / FAILED).is_file() else Ended()

    def forget(self) -> None:
        """Forget how it failed, before it is done again."""
        with suppress(OSError):
            (self.path / FAILED).unlink()

    def fail(self, ended: Ended) -> None:
        """Write failed.json, which says how it failed.

        Raises:
            UserError: no space is left for it.
        """
        Folder(self.path).json(FAILED, asdict(ended))


def job_name(plan: Plan) -> str:
    """What the folder of a job is called: its title and a hash of its complete settings, the content of weights files included."""
    config = {name: value for name, value in plan.config.items() if name not in ELSEWHERE}
    return f"{plan.title}_{digest([config, _files(config['model'])])}"


def digest(value: Any) -> str:
    """A hash of plain values in ten hexadecimal digits; the order of keys does not matter.

    Example:
        >>> digest({"seed": 0, "sparsity": 0.5}) == digest({"sparsity": 0.5, "seed": 0})
        True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


def _files(model: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of the files that the settings of a network name, such as its weights: another file of that name is another job."""
    paths = {name: Path(value).expanduser() for name, value in model.items() if isinstance(value, str) and "." in value}
    return {name: file_digest(path) for name, path in paths.items() if path.is_file()}


def carry_out(plan: Plan, path: Path, start: Callable[[Folder], object]) -> Ended:
    """Do a job in its folder, unless it is finished or another process is at work there.

    What goes wrong goes into the job's own log, and one sentence of it into its ``failed.json``; the other jobs go on.

    Args:
        plan: of the job.
        path: its folder.
        start: does it, in the folder that it is given.
    """
    LOG.setLevel(logging.INFO)
    LOG.propagate = False  # into its own log alone: jobs may run side by side
    try:
        folder = Folder.at(path)
        with folder.log():
            if not (path / DONE).is_file():
                Job(path).forget()
                refuse_full(path)
                folder.text("config.yaml", yaml.safe_dump(plan.config, sort_keys=False))
                with _failure(Job(path)):
                    start(folder)
        return Ended()
    except (Busy, MissedTarget):  # not ours, or complete: its manifest knows
        return Ended()
    except Exception as error:
        return Ended.by(error)
    finally:
        LOG.propagate = True


@contextmanager
def _failure(job: Job) -> Iterator[None]:
    """Write down what goes wrong in the block."""
    try:
        yield
    except (MissedTarget, NoSpace):  # complete, or open: nothing is wrong with the job
        raise
    except Exception as error:
        job.fail(Ended.by(error))
        raise
