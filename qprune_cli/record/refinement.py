"""What a refinement leaves: the best mask so far while it runs, and in the end what it was worth on images it saw and on others."""

import logging
import zlib
from collections.abc import Mapping, Sequence
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from qprune_cli.evaluate.task import Task
from qprune_cli.record.folder import Folder
from qprune_cli.record.solution import write_mask
from qprune_cli.search.evaluations import EvaluationLog
from qprune_cli.types import Layout, Quality, Solution

LOG = logging.getLogger("qprune_cli")
ENDED = {"silenced": "refined", "compensated": "compensated"}  # stage that a refinement of each objective is for
FEW = 64  # refinement images
STATE = "refinement.npz"  # of a refinement that is not finished


def saved_state(folder: Folder, layout: Layout) -> Mapping[str, NDArray[Any]] | None:
    """What an interrupted refinement had measured; None where there is nothing, or what is damaged."""
    path = folder.path / STATE
    if not path.is_file():
        return None
    try:
        with np.load(path) as file:
            state = {name: file[name] for name in ("best", "held", "masks", "merit", "images")}
        if state["best"].shape != (layout.n,) or state["masks"].shape != (len(state["merit"]), -(-layout.n // 8)):
            raise ValueError("of another network")
    except (ValueError, KeyError, OSError, EOFError, BadZipFile, zlib.error) as error:
        LOG.warning("%s: cannot be used (%s); the refinement begins anew", path, error)
        return None
    return state


def save_state(folder: Folder, layout: Layout, log: EvaluationLog) -> None:
    """mask.npz: the best mask so far; beside it what a resumed run need not measure again."""
    write_mask(folder, layout, log.best_ever[0])
    folder.arrays(STATE, log.state())


def write_refinement(folder: Folder, layout: Layout, solved: Solution, refined: Solution, trace: Sequence[Mapping[str, Any]]) -> None:
    """mask.npz, refinement.json, and trace.csv: first the solver's search where it has one, then one row for each evaluation."""
    write_mask(folder, layout, refined.keep)
    if trace:
        folder.json("refinement.json", dict(refined.notes) | {"damage": refined.damage, "seconds": refined.seconds})
    rows = [{"stage": "solve"} | dict(row) for row in solved.notes.get("trace", ())] + [{"stage": "refine"} | dict(row) for row in trace]
    if rows:
        columns = dict.fromkeys(name for row in rows for name in row)
        folder.table("trace.csv", [columns | row for row in rows])
    (folder.path / STATE).unlink(missing_ok=True)


def refinement_summary(task: Task, refined: Solution, objective: str, quality: Mapping[str, Quality]) -> dict[str, Any]:
    """Gains of the merit side by side, for metrics.json: on the images that were tuned on, on those held out, and on the test images.

    Args:
        task: what the network is for.
        refined: the mask, with what the refiner has to say.
        objective: of what network it is the metric.
        quality: on the test images of the stages, and of the network that the refinement ``begun`` with.
    """
    notes = refined.notes
    if "tuned" not in notes:
        return {}
    before, after = (float(task.merits_of(quality[stage]).mean()) for stage in ("begun", ENDED[objective]))
    entries = {name: notes[name] for name in ("method", "evaluations", "gradients", "swapped", "tuned", "held_out")}
    return {"objective": objective} | entries | {"test": {"before": before, "after": after}}


def refinement_line(task: Task, summary: Mapping[str, Any]) -> str:
    """The same to be read; empty where nothing was refined."""
    if not summary:
        return ""
    named = {"tuned": "tuned", "held_out": "held-out", "test": "test"}
    gains = {name: summary[key]["after"] - summary[key]["before"] for key, name in named.items()}
    changes = ", ".join(f"{task.merit.change(gain)} on the {name} images" for name, gain in gains.items())
    swaps = f"{summary['swapped']} exchange{'s' if summary['swapped'] != 1 else ''}"
    spent = f"{summary['evaluations']} evaluations of the {summary['objective']} network"
    return f"\nrefinement: {swaps} by {summary['method']} in {spent}: {changes}"


def refinement_warnings(task: Task, summary: Mapping[str, Any], images: int) -> list[str]:
    """Say so where few images were refined on, and where the test images lost what the refinement images gained."""
    warnings = []
    if summary and images < FEW:
        warnings.append(f"the mask was refined on {images} images: with fewer than {FEW} it may fit these alone; raise {task.more_images}")
    gains = {name: summary[name]["after"] - summary[name]["before"] for name in ("held_out", "test") if summary}
    if gains and gains["test"] < 0:
        text = task.merit.text
        warnings.append(
            f"refinement gained {text(gains['held_out'])} on the held-out images and lost {text(-gains['test'])} on the test images: "
            "give it images that are more like those of the test, or refine=none"
        )
    return warnings
