"""The metric that refiners tune: that of the silenced network, or of the network with its weights re-fitted as well."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import nn

from qprune_cli.evaluate.task import task_of
from qprune_cli.regression.choice import RECALIBRATED, UNCHANGED
from qprune_cli.regression.refit import SIDE, Refit
from qprune_cli.replay.metric import MaskMetric
from qprune_cli.types import Bools, Layout, Splits


class Compensator(Protocol):
    """What the metric needs of a component of the role ``compensate``."""

    def fit(self, dense: nn.Module, layout: Layout, keep: Bools, splits: Splits, seed: int) -> tuple[nn.Module, Mapping[str, Any]]:
        """Return a network of the shape of the dense one, fitted at an (n,) mask, and notes that say what became of each layer."""


def objective_metric(
    objective: str, compensator: Compensator | None, dense: nn.Module, layout: Layout, keep: Bools, splits: Splits, seed: int
) -> MaskMetric:
    """The metric that a refiner asks for, on the refinement images.

    Args:
        objective: compensated, as the network is used in the end (see ``compensated_metric``; where nothing is compensated that is the
            silenced one), or silenced, before its weights are re-fitted.
        compensator: a component of the role ``compensate``; None where the weights are to stay as they are.
        dense: the trained network.
        layout: its filters.
        keep: (n,) mask to start at.
        splits: calibration images to fit, refinement images to measure.
        seed: draws the positions that weights are fitted at.
    """
    if objective == "compensated" and compensator is not None:
        return compensated_metric(compensator, dense, layout, keep, splits, seed)
    return MaskMetric(task_of(splits), dense, layout, splits.refinement, dense)


def compensated_metric(compensator: Compensator, dense: nn.Module, layout: Layout, keep: Bools, splits: Splits, seed: int) -> MaskMetric:
    """Merit of masks near a start, each with the weights that compensation would give it, approximately.

    The compensation is fitted once in full, at the start. For another mask, the convolutions that read changed filters are fitted again,
    and the norms behind these that the full fit recalibrated are recalibrated again (see ``Refit``); everything else stays as the
    full fit left it. Where the compensation changes nothing, this is the merit of the silenced network.

    Args:
        compensator: a component of the role ``compensate``.
        dense: the trained network.
        layout: its filters.
        keep: (n,) mask to start at.
        splits: calibration images to fit, refinement images to measure.
        seed: draws the positions.
    """
    task = task_of(splits)
    fitted, notes = compensator.fit(dense, layout, keep, splits, seed)
    chosen = {row["layer"]: row["chosen"] for row in notes.get("layers", ()) if row["chosen"] != UNCHANGED}
    recalibrated = {name for name, choice in chosen.items() if choice == RECALIBRATED}
    strengths = {name: float(choice) for name, choice in chosen.items() if name not in recalibrated}
    if fitted is dense or not chosen:
        return MaskMetric(task, fitted, layout, splits.refinement, dense)
    refit = Refit(dense, fitted, layout, keep, splits.calibration, strengths, recalibrated, seed, SIDE if task.any_size else None)
    return MaskMetric(task, fitted, layout, splits.refinement, dense, refit)
