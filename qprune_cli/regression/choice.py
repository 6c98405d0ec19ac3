"""What a layer may become in a re-fit, and the choice between these on images that were held out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from qprune_cli.regression.linear_map import fill_, matrix_of
from qprune_cli.regression.moments import Moments
from qprune_cli.regression.norm import NORMS, norm_matrix, statistics
from qprune_cli.types import Bools

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # of the ridge, as shares of the mean squared input
UNCHANGED, RECALIBRATED = "as it is", "recalibrated"  # the choices beside the strengths, as notes name them


@dataclass(frozen=True)
class Choice:
    """Weights that a layer may take.

    Attributes:
        matrix: (g, d, o) the weights as a linear map.
        take_: writes them into the layer.
    """

    matrix: Tensor
    take_: Callable[[], None]


def improve_(module: nn.Module, fit: Moments, held_out: Moments, kept: Bools | None) -> dict[str, Any]:
    """Give a layer the weights that do best on the images held out.

    Args:
        module: a layer or a norm; it is changed.
        fit: moments of the images that choices are fitted on.
        held_out: moments of the images that choose.
        kept: (filters,) mask; the error is that of the kept filters, as a share of their energy. None keeps all.

    Returns:
        The name of the choice, and the error before and after, ready for JSON.
    """
    mask = torch.ones_like(held_out.energy, dtype=torch.bool)
    if kept is not None:
        mask = torch.from_numpy(kept).to(mask.device).reshape(mask.shape)
    energy = float(held_out.energy[mask].sum()) or 1.0
    choices = choices_of(module, fit)
    errors = {name: float(held_out.error(choice.matrix)[mask].sum()) / energy for name, choice in choices.items()}
    best = min(errors, key=errors.__getitem__)
    choices[best].take_()
    return {"chosen": best, "error_before": errors[UNCHANGED], "error_after": errors[best]}


def choices_of(module: nn.Module, fit: Moments) -> dict[str, Choice]:
    """What a layer or a norm may become, by name: as it is, re-fitted with each strength, or recalibrated."""
    if isinstance(module, NORMS):
        unchanged = {UNCHANGED: Choice(norm_matrix(module), lambda: None)}
        return unchanged | ({RECALIBRATED: _recalibrated(module, fit)} if fit.count else {})
    start = matrix_of(module).double()
    fitted = {f"{s:g}": fit.ridge(start, s, module.bias is not None) for s in STRENGTHS if fit.count}
    return {UNCHANGED: Choice(start, lambda: None)} | {name: Choice(m, partial(fill_, module, m)) for name, m in fitted.items()}


def _recalibrated(norm: Any, fit: Moments) -> Choice:
    """The norm with the statistics of what it reads now."""
    mean, variance = statistics(fit)

    def take_() -> None:
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    return Choice(norm_matrix(norm, mean, variance), take_)
