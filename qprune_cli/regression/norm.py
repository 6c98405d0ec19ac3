"""BatchNorm as a linear map: a scale and a shift for each channel (see ``linear_map``)."""

from typing import Any

import torch
from torch import Tensor, nn

from qprune_cli.regression.linear_map import Positions
from qprune_cli.regression.moments import Moments
from qprune_cli.replay.gated import Weights

NORMS = (nn.BatchNorm2d, nn.BatchNorm1d)
MAX_SCALE = 10.0  # that a change of statistics scales a channel by, up or down
Statistics = tuple[Tensor, Tensor]  # (C,) mean and variance


def norm_pairs(x: Tensor, y: Tensor, positions: Positions) -> tuple[Tensor, Tensor]:
    """(p, C, 2) rows and (p, C, 1) targets, from the (C, H, W) or (C,) input and output of one image."""
    inputs, targets = ((v[:, positions[0], positions[1]].T if v.dim() == 3 else v[None]) for v in (x, y))
    return torch.stack([inputs, torch.ones_like(inputs)], dim=-1), targets[..., None]


def norm_matrix(norm: Any, mean: Tensor | None = None, variance: Tensor | None = None) -> Tensor:
    """(C, 2, 1) float64: the scale and the shift that a norm applies, with its running statistics or with others, (C,) each."""
    mean, variance = (norm.running_mean, norm.running_var) if mean is None or variance is None else (mean, variance)
    gain = norm.weight.detach().double() if norm.affine else torch.ones_like(mean, dtype=torch.float64)
    bias = norm.bias.detach().double() if norm.affine else torch.zeros_like(gain)
    scale = gain / (variance.double() + norm.eps).sqrt()
    return torch.stack([scale, bias - scale * mean.double()], dim=1)[..., None]


def statistics(moments: Moments) -> Statistics:
    """(C,) mean and variance of the inputs of a norm, from the moments of its rows (see ``norm_pairs``)."""
    mean = moments.inner[:, 0, 1] / moments.count
    return mean, (moments.inner[:, 0, 0] / moments.count - mean**2).clamp_min(0)


def folded(norm: Any, weights: Weights, before: Statistics, after: Statistics) -> Weights:
    """A convolution that does for a norm behind it what other statistics of that norm would do.

    The statistics change as those of what the norm reads did: the mean by the difference, the variance by the ratio, both with the
    norm's epsilon added, so that a channel that is constant, before and after, stays as it is. ``norm(w'' x + b'')`` is then
    ``norm'(w' x + b')``.

    Args:
        norm: the norm; it keeps its running statistics.
        weights: weight and bias of the convolution, the bias None where it has none.
        before: statistics of the convolution's outputs, when those of the norm were measured.
        after: statistics of its outputs with these weights.

    Returns:
        Weight and bias; there is always a bias.
    """
    weight, bias = weights
    scale = ((before[1] + norm.eps) / (after[1] + norm.eps)).sqrt().clamp(1 / MAX_SCALE, MAX_SCALE)
    centre = norm.running_mean.double()
    shift = centre - scale * (centre + after[0] - before[0])
    return (weight * scale[:, None, None, None]).to(weight.dtype), (shift if bias is None else scale * bias + shift).to(weight.dtype)
