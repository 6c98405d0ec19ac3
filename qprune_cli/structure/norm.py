"""BatchNorm as a linear map: a scale and a shift for each channel (see ``rows``)."""

from typing import Any

import torch
from torch import Tensor, nn

from qprune_cli.structure.regression import Moments
from qprune_cli.structure.rows import Positions

NORMS = (nn.BatchNorm2d, nn.BatchNorm1d)


def norm_pairs(x: Tensor, y: Tensor, places: Positions) -> tuple[Tensor, Tensor]:
    """(p, C, 2) rows and (p, C, 1) targets, from the (C, H, W) or (C,) input and output of one image."""
    values, wanted = ((v[:, places[0], places[1]].T if v.dim() == 3 else v[None]) for v in (x, y))
    return torch.stack([values, torch.ones_like(values)], dim=-1), wanted[..., None]


def norm_matrix(norm: Any, mean: Tensor | None = None, variance: Tensor | None = None) -> Tensor:
    """(C, 2, 1) float64: the scale and the shift that a norm is, with statistics of its own or with others."""
    mean, variance = (norm.running_mean, norm.running_var) if mean is None or variance is None else (mean, variance)
    gain = norm.weight.detach().double() if norm.affine else torch.ones_like(mean, dtype=torch.float64)
    bias = norm.bias.detach().double() if norm.affine else torch.zeros_like(gain)
    scale = gain / (variance.double() + norm.eps).sqrt()
    return torch.stack([scale, bias - scale * mean.double()], dim=1)[..., None]


def statistics(seen: Moments) -> tuple[Tensor, Tensor]:
    """(C,) mean and variance of the rows of a norm."""
    mean = seen.inner[:, 0, 1] / seen.count
    return mean, (seen.inner[:, 0, 0] / seen.count - mean**2).clamp_min(0)
