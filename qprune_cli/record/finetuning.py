"""What fine-tuning leaves: states while it runs, its record, and what should be known about it."""

from collections.abc import Mapping, Sequence
from typing import Any

from qprune_cli.evaluate.task import Task
from qprune_cli.record.folder import PASSING, Folder


def state_file(network: str, number: int) -> str:
    """Name of the state of a training that may not be finished.

    Args:
        network: whose training it is.
        number: of the round.
    """
    return f"{PASSING}{network}-{number}.safetensors"


def write_epochs(folder: Folder, rows: Sequence[Mapping[str, Any]]) -> None:
    """epochs.csv: one row for each validation."""
    folder.table("epochs.csv", rows)


def remove_states(folder: Folder) -> None:
    """Delete the states of trainings: the run is complete."""
    for path in folder.path.glob(f"{PASSING}*"):
        path.unlink()


def finetuning_summary(settings: Mapping[str, Any], notes: Mapping[str, Any]) -> dict[str, Any]:
    """How the trainings went, for metrics.json; empty where there was none.

    Args:
        settings: of the fine-tuning.
        notes: of each training, by the name of its network.
    """
    if not notes:
        return {}
    kind = "distill" if settings["teacher"] or settings["features"] else "adam"
    return {"kind": kind, "bn": settings["bn"], "steps": settings["steps"], "networks": dict(notes)}


def finetuning_warnings(task: Task, summary: Mapping[str, Any]) -> list[str]:
    """Say so where a training diverged, or gave nothing."""
    warnings = []
    for name, notes in summary.get("networks", {}).items():
        best = f"step {notes['best']['step']} ({task.primary.text(notes['best']['value'])} on the refinement images)"
        if notes["diverged"]:
            warnings.append(f"fine-tuning of the {name} network stopped: {notes['stopped']}; the weights of {best} are kept")
        elif notes["best"]["step"] == 0:
            advice = "the weights that it began with are kept; lower finetune.lr, or give it more steps"
            warnings.append(f"fine-tuning gave the {name} network nothing: {advice}")
    return warnings
