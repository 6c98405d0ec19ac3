"""Random vectors at the output of a network, by which backward passes sample the curvature of a loss."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from qprune_cli.calibration.loss import image_means

Probe = Callable[[Tensor, Tensor, torch.Generator], Tensor]


def _signs(output: Tensor, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, output.shape, generator=generator, dtype=output.dtype)
    return (2 * signs - 1).to(output.device)


def _per_value(output: Tensor, curvature: Tensor) -> Tensor:
    """Square root of a curvature per image, (N,), spread over the values of the output."""
    return (curvature / output[0].numel()).sqrt().reshape(-1, *[1] * (output.dim() - 1))


def _psnr(output: Tensor, clean: Tensor, generator: torch.Generator) -> Tensor:
    return _signs(output, generator) * _per_value(output, 20 / math.log(10) / (image_means((output - clean).square()) + 1e-12))


def _mse(output: Tensor, clean: Tensor, generator: torch.Generator) -> Tensor:
    return _signs(output, generator) * _per_value(output, torch.full_like(image_means(output), 2.0))


def _l1(output: Tensor, clean: Tensor, generator: torch.Generator) -> Tensor:
    size = (output - clean).abs()
    typical = image_means(size).reshape(-1, *[1] * (output.dim() - 1))
    return _signs(output, generator) / (torch.maximum(size, typical + 1e-12) * output[0].numel()).sqrt()


def _cross_entropy(output: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    probabilities = output.softmax(dim=1)
    drawn = torch.multinomial(probabilities.cpu(), 1, generator=generator)[:, 0].to(output.device)
    return probabilities - F.one_hot(drawn, output.shape[1])


# Output, target and generator -> random vectors r, of the shape of the output, with mean 0 and E[r r^T] = the curvature of the loss there
# (Gauss-Newton). That of "psnr" leaves out the logarithm's own, which is negative; "l1" has none, so it gets that of the parabola through
# the typical error; the labels of "cross_entropy" are drawn from the network's own probabilities, which gives the Fisher information.
PROBES: dict[str, Probe] = {"psnr": _psnr, "mse": _mse, "l1": _l1, "cross_entropy": _cross_entropy}
