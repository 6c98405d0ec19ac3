"""A layer as a linear map: what it reads at one output position as a row, its weights as a matrix.

``output[position, group] = row[position, group] @ matrix[group]``, with g groups, d inputs of each (channels x kernel, and 1 for the
bias) and o outputs of each. Convolutions and transposed convolutions, grouped, dilated, strided and padded in any way, linear layers.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Positions = tuple[Tensor, Tensor]  # (p,) rows and (p,) columns of an output


def drawn_positions(output: Tensor, most: int, rng: np.random.Generator) -> Positions:
    """Draw at most so many positions of an (O, H, W) output of one image; an (O,) output has one, row 0 and column 0."""
    count = 1 if output.dim() == 1 else output[0].numel()
    drawn = torch.from_numpy(rng.choice(count, min(most, count), replace=False)).to(output.device)
    return torch.div(drawn, output.shape[-1], rounding_mode="floor"), drawn % output.shape[-1]


def layer_pairs(module: nn.Module, x: Tensor, y: Tensor, positions: Positions) -> tuple[Tensor, Tensor]:
    """What a layer reads at output positions, and what it is to give there.

    Args:
        module: nn.Conv2d, nn.ConvTranspose2d or nn.Linear.
        x: (C, H, W) input of one image, (C,) for a linear layer, which has one position.
        y: (O, H, W) or (O,) output.
        positions: p output positions to look at.

    Returns:
        (p, g, d) rows and (p, g, o) targets.
    """
    if isinstance(module, nn.Linear):
        rows, targets = x.reshape(1, 1, -1), y.reshape(1, 1, -1)
    else:
        shape = (len(positions[0]), _groups(module), -1)
        taps = _transposed_taps(module, x, positions) if isinstance(module, nn.ConvTranspose2d) else _taps(module, x, positions)
        rows, targets = taps.transpose(0, 1).reshape(shape), y[:, positions[0], positions[1]].T.reshape(shape)
    return (rows if module.bias is None else torch.cat([rows, torch.ones_like(rows[..., :1])], dim=-1)), targets


def matrix_of(module: nn.Module) -> Tensor:
    """The weights and the bias of a layer as (g, d, o)."""
    groups, weight = _groups(module), _weight(module)
    if isinstance(module, nn.ConvTranspose2d):  # (inputs, o, ...)
        matrix = weight.unflatten(0, (groups, -1)).flatten(3).permute(0, 1, 3, 2).flatten(1, 2)
    else:  # (outputs, inputs of a group, ...)
        matrix = weight.unflatten(0, (groups, -1)).flatten(2).transpose(1, 2)
    bias: Any = module.bias
    return matrix if bias is None else torch.cat([matrix, bias.detach().reshape(groups, 1, -1)], dim=1)


def fill_(module: nn.Module, matrix: Tensor) -> None:
    """Write a (g, d, o) matrix into the weights and the bias of a layer, in place."""
    weight, bias = weight_of(module, matrix)
    _weight(module).copy_(weight)
    if bias is not None:
        module.bias.data.copy_(bias)  # type: ignore[operator]


def weight_of(module: nn.Module, matrix: Tensor) -> tuple[Tensor, Tensor | None]:
    """The weights and the bias of a layer that a (g, d, o) matrix stands for."""
    groups, weight, bias = _groups(module), _weight(module), None
    if module.bias is not None:
        matrix, bias = matrix[:, :-1], matrix[:, -1].reshape(-1).to(weight.dtype)
    if isinstance(module, nn.ConvTranspose2d):
        taps = weight[0, 0].numel()
        new = matrix.unflatten(1, (-1, taps)).permute(0, 1, 3, 2).reshape(weight.shape)
    else:
        new = matrix.transpose(1, 2).reshape(groups * matrix.shape[2], *weight.shape[1:])
    return new.to(weight.dtype), bias


def _groups(module: nn.Module) -> int:
    return int(getattr(module, "groups", 1))


def _weight(module: nn.Module) -> Tensor:
    weight: Any = module.weight
    return weight.data  # type: ignore[no-any-return]


def _taps(module: Any, x: Tensor, positions: Positions) -> Tensor:
    """(C, p, kh, kw): the input under the kernel of a convolution."""
    padded = _padded(module, x)
    rows, columns = (
        position[:, None] * module.stride[axis] + module.dilation[axis] * torch.arange(module.kernel_size[axis], device=x.device)
        for axis, position in enumerate(positions)
    )
    return padded[:, rows[:, :, None], columns[:, None, :]]


def _padded(module: Any, x: Tensor) -> Tensor:
    """(C, H + padding, W + padding): the input as the convolution pads it."""
    if isinstance(module.padding, str):
        reach = [d * (k - 1) if module.padding == "same" else 0 for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        sides = [side for r in reversed(reach) for side in (r // 2, r - r // 2)]
    else:
        sides = [side for p in reversed(module.padding) for side in (p, p)]
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    return F.pad(x[None], sides, mode=mode)[0]


def _transposed_taps(module: Any, x: Tensor, positions: Positions) -> Tensor:
    """(C, p, kh, kw): the inputs that reach an output position, 0 where a tap has none."""
    sources, inside = [], []
    for axis, position in enumerate(positions):
        kernel = module.dilation[axis] * torch.arange(module.kernel_size[axis], device=x.device)
        reach = position[:, None] + module.padding[axis] - kernel
        source = torch.div(reach, module.stride[axis], rounding_mode="floor")
        inside.append((reach % module.stride[axis] == 0) & (source >= 0) & (source < x.shape[1 + axis]))
        sources.append(source.clamp(0, x.shape[1 + axis] - 1))
    inputs = x[:, sources[0][:, :, None], sources[1][:, None, :]]
    reached: Tensor = inputs * (inside[0][:, :, None] & inside[1][:, None, :])
    return reached
