"""Of what network refiners tune the metric: silenced, or with its weights re-fitted as well."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import nn

from qprune_cli.compensate.refit import Refit
from qprune_cli.evaluate.metric import MaskPsnr
from qprune_cli.types import Bools, Layout, Splits

KEPT = ("as it is", "recalibrated")  # layers without a ridge


class Fits(Protocol):
    """What the role ``compensate`` does."""

    def fit(self, dense: nn.Module, layout: Layout, keep: Bools, splits: Splits, seed: int) -> tuple[nn.Module, Mapping[str, Any]]:
        """Return a network of the shape of the dense one, and how it went."""


def objective_psnr(objective: str, compensator: Fits, dense: nn.Module, layout: Layout, keep: Bools, splits: Splits, seed: int) -> MaskPsnr:
    """The metric that a refiner asks for, on the refinement images.

    Args:
        objective: silenced, or compensated (see ``compensated_psnr``).
        compensator: a component of the role ``compensate``.
        dense: the trained network.
        layout: its filters.
        keep: (n,) mask to start at.
        splits: calibration images to fit, refinement images to measure.
        seed: draws the positions.
    """
    if objective == "compensated":
        return compensated_psnr(compensator, dense, layout, keep, splits, seed)
    return MaskPsnr(dense, layout, splits.refinement, dense)


def compensated_psnr(compensator: Fits, dense: nn.Module, layout: Layout, keep: Bools, splits: Splits, seed: int) -> MaskPsnr:
    """PSNR of masks near a start, each with the weights that compensation would give it, approximately.

    The compensation is fitted once in full, at the start. For another mask, the layers that read changed filters are fitted again
    (see ``Refit``). Where the compensation changes nothing, this is the PSNR of the silenced network. Norms stay as the full fit
    left them.

    Args:
        compensator: a component of the role ``compensate``.
        dense: the trained network.
        layout: its filters.
        keep: (n,) mask to start at.
        splits: calibration images to fit, refinement images to measure.
        seed: draws the positions.
    """
    fitted, notes = compensator.fit(dense, layout, keep, splits, seed)
    strengths = {row["layer"]: float(row["chosen"]) for row in notes.get("layers", ()) if row["chosen"] not in KEPT}
    if fitted is dense or not strengths:
        return MaskPsnr(fitted, layout, splits.refinement, dense)
    refit = Refit(dense, fitted, layout, keep, splits.calibration, strengths, seed)
    return MaskPsnr(fitted, layout, splits.refinement, dense, refit)
