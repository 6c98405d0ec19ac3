"""What a transfer to other images leaves in a run folder and on the terminal."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from qprune_cli.evaluate.interval import t95
from qprune_cli.evaluate.task import Task
from qprune_cli.record.folder import Folder
from qprune_cli.types import Floats, Retrained

REFERENCE = "transferred"  # the row that every other one is compared with


def write_transfer(folder: Folder, task: Task, rows: Sequence[Retrained]) -> None:
    """transfer.csv: a row for each seed and network; transfer.json: their means, and differences with intervals; nothing without rows."""
    if not rows:
        return
    folder.table("transfer.csv", [_row(task, row) for row in rows])
    seeds = [row.seed for row in rows if row.name == REFERENCE]
    networks = {name: _summary(task, rows, name) for name in _names(rows)}
    folder.json(
        "transfer.json",
        {
            "schema": 1,
            "seeds": seeds,
            "measure": task.primary.name,
            "reference": REFERENCE,
            "interval": f"95 %, Student's t of paired differences over {len(seeds)} seeds; null for one seed",
            "networks": networks,
        },
    )


def transfer_table(task: Task, rows: Sequence[Retrained]) -> str:
    """Means over the seeds, and the paired differences to the mask that was transferred, behind a line break; empty without rows."""
    if not rows:
        return ""
    measure, count = task.primary, len(values_of(rows, REFERENCE))
    seeds = f"{count} seed{'s' if count > 1 else ''}"
    lines = ["", f"trained on the other images, mean over {seeds}:"]
    lines.append(f"{'':<14}{measure.title:>{measure.width}}{'filters':>9}{'params':>12}{'seconds':>9}  against {REFERENCE}")
    for name in _names(rows):
        trained = [row for row in rows if row.name == name]
        filters, params, seconds = (np.mean([getattr(row, what) for row in trained]) for what in ("filters", "params", "seconds"))
        mean = measure.text(float(values_of(rows, name).mean()))
        change = values_of(rows, name) - values_of(rows, REFERENCE)
        difference = "" if name == REFERENCE else f"  {measure.change(float(change.mean()))}"
        interval = t95(change)
        if difference and interval is not None:
            difference += f", 95 % interval [{measure.number(interval[0], '+')}, {measure.number(interval[1], '+')}] over {seeds}"
        lines.append(f"{name:<14}{mean:>{measure.width}}{filters:>9,.0f}{params:>12,.0f}{seconds:>9.1f}{difference}")
    return "\n".join(lines)


def values_of(rows: Sequence[Retrained], name: str) -> Floats:
    """(N,) values of a network, seed by seed."""
    return np.array([row.value for row in rows if row.name == name])


def _names(rows: Sequence[Retrained]) -> list[str]:
    """Names of the networks, in order."""
    return list(dict.fromkeys(row.name for row in rows))


def _row(task: Task, row: Retrained) -> dict[str, Any]:
    size = {"filters": row.filters, "params": row.params, "seconds": round(row.seconds, 3)}
    return {"seed": row.seed, "network": row.name, task.primary.name: row.value} | size


def _summary(task: Task, rows: Sequence[Retrained], name: str) -> dict[str, Any]:
    """Means of a network; the difference to the transferred mask where it is another."""
    trained, values = [row for row in rows if row.name == name], values_of(rows, name)
    change = values - values_of(rows, REFERENCE)
    difference = {} if name == REFERENCE else {"difference": {"mean": change.mean(), "ci95": t95(change), "n": len(change)}}
    means = {what: float(np.mean([getattr(row, what) for row in trained])) for what in ("filters", "params", "seconds")}
    return {task.primary.name: {"mean": values.mean(), "values": values}} | means | difference
