"""What a command refuses before anything is read or written: parts that do not fit each other, and folders that it cannot go on with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qprune_cli.compose.build import buildable
from qprune_cli.errors import UserError, listed
from qprune_cli.evaluate.task import task_of
from qprune_cli.record.read import read_settings
from qprune_cli.roles import Data, Model
from qprune_cli.types import FITTING

PLACES = ("root", "clean_root", "test_root", "validation", "cache")  # where images lie may change while a training is stopped


def check_fit(data: Data, model: Model, names: Mapping[str, str]) -> None:
    """Refuse a network that is for something else than the images, or does not take them, before any is read.

    Args:
        data: where images come from.
        model: the network.
        names: what both are called, by role.

    Raises:
        UserError: another task, or another number of channels, side or number of classes.
    """
    task = task_of(data)
    if task_of(model) is not task:
        others = [name for name, other in buildable("model").items() if task_of(other) is task]
        instead = f"take model={listed(others)}" if others else f"take one that {task.model_does}"
        raise UserError(f"model={names['model']} {task_of(model).model_does}, and data={names['data']} has {task.data_has}; {instead}")
    for name in FITTING:
        wanted, given = (getattr(part, name, None) for part in (data, model))
        if wanted != given and wanted is not None and given is not None:
            raise UserError(f"model.{name}={given}: the images have {wanted}; set model.{name}={wanted}")


def check_stopped(kind: str, folder: Path, config: dict[str, Any], instead: str) -> None:
    """Refuse to go on with what is finished, or with other settings than it began with.

    Raises:
        UserError: one of both.
    """
    if (folder / "manifest.json").is_file():
        raise UserError(f"--resume {folder}: this {kind} is finished; {instead}")
    if _unplaced(config) != _unplaced(read_settings(folder)):
        places = ", ".join(f"data.{place}" for place in PLACES)
        raise UserError(f"--resume {folder}: a {kind} goes on as it began; only {places} may change, or begin a new one")


def _unplaced(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without the places of its images."""
    return config | {"data": {name: value for name, value in config["data"].items() if name not in PLACES}}
