"""Whole runs in tests: the quickest settings, what a folder holds, and folders that many tests read."""

import csv
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.export
from filelock import FileLock

from qprune_cli import cli

QUICK = ["fidelity=0", "certify=false", "latency=false"]  # what a run measures beside its quality costs more than the rest of it
TINY = ["run", "scale=tiny"]  # experiment=smoke, composed once where an experiment is composed three times
SMOKE = [*TINY, *QUICK]
# A third of a second: for what has nothing to do with images.
DIGITS = ["run", *QUICK, "data=digits", "data.test_images=40", "model=mlp", "solver=greedy_taylor", "compensate=none"]
OWN = str(Path(__file__).parent / "own")  # a task of squares and its classifiers: the smallest networks that train
BLOBS = ["data=blobs", "model=reader", "--config-dir", OWN]
EXPORT = torch.export.export


def only_run(root: Path, kind: str = "runs") -> Path:
    """The one folder below ``root / kind``."""
    (folder,) = (root / kind).iterdir()
    return folder


def read(folder: Path, name: str = "metrics.json") -> Any:
    """A JSON file of a folder."""
    return json.loads((folder / name).read_text())


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    """The rows of a CSV file of a folder."""
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


def carried_out(*words: str) -> None:
    """Do a command that is to succeed, with the log that the command line writes."""
    logger = logging.getLogger("qprune_cli")
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        assert cli.dispatch([*words]) == 0
    finally:
        logger.setLevel(before)


def shared_base(factory: pytest.TempPathFactory) -> Path:
    """The folder that all processes of one call of pytest share."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that is made by the first process of pytest that wants it, and read by all; whoever alters it takes a copy."""
    folder = shared_base(factory) / name
    with FileLock(f"{folder}.lock"):
        if not folder.with_suffix(".made").exists():
            make(folder)
            folder.with_suffix(".made").touch()
    return folder


def refuse_export(*_: object, **__: object) -> None:
    """What torch.export is in most tests: model.pt2 is left out, as for a network that cannot be followed."""
    raise RuntimeError("a test of programs is marked with exports")


@contextmanager
def exporting() -> Iterator[None]:
    """Write model.pt2 all the same."""
    stub, torch.export.export = torch.export.export, EXPORT
    try:
        yield
    finally:
        torch.export.export = stub
