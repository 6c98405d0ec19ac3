"""The losses whose rise scores predict: one number per image."""

import math
from collections.abc import Callable, Collection

import torch
from torch import Tensor
from torch.nn import functional as F

from qprune_cli.errors import UserError, listed, nearest

Loss = Callable[[Tensor, Tensor], Tensor]


def _mean(error: Tensor) -> Tensor:
    return error.flatten(1).mean(dim=1)


# Output and target -> (N,): (N, C, H, W) pictures, or (N, classes) logits and (N,) labels.
# "psnr" is the negative PSNR in dB, up to a constant.
LOSSES: dict[str, Loss] = {
    "psnr": lambda output, clean: 10 * torch.log10(_mean((output - clean).square()) + 1e-12),
    "mse": lambda output, clean: _mean((output - clean).square()),
    "l1": lambda output, clean: _mean((output - clean).abs()),
    "cross_entropy": lambda output, labels: F.cross_entropy(output, labels.long(), reduction="none"),
}


LABELLED = ("cross_entropy",)  # those that compare logits with labels; the others compare pictures


def refuse_labels(setting: str, loss: str, known: Collection[str]) -> None:
    """Refuse a loss that needs labels, of images that have none.

    Args:
        setting: whose value it is.
        loss: its name.
        known: names of all losses that there are.

    Raises:
        UserError: it is one that needs labels.
    """
    if loss in LABELLED:
        raise UserError(f"{setting}={loss}: these images have no labels; choose {listed(name for name in known if name not in LABELLED)}")


def refuse_no_labels(setting: str, loss: str, known: Collection[str]) -> None:
    """Refuse a loss that compares pictures, of images that have labels; arguments as in ``refuse_labels``.

    Raises:
        UserError: it is one that compares pictures.
    """
    if loss not in LABELLED:
        raise UserError(f"{setting}={loss}: these images have labels; choose {listed(name for name in known if name in LABELLED)}")


def check_loss(loss: str) -> None:
    """Refuse a loss that does not exist.

    Raises:
        UserError: no such loss.
    """
    if loss not in LOSSES:
        raise UserError(f"loss={loss}: no such loss; {nearest(loss, LOSSES)}")


def check_pass(loss: str, batch: int) -> None:
    """Refuse settings of a pass that cannot work.

    Raises:
        UserError: unknown loss or batch below 1.
    """
    check_loss(loss)
    if batch < 1:
        raise UserError(f"scorer.batch={batch}: give a number of images, at least 1")


def losses_of(loss: str, output: Tensor, target: Tensor) -> Tensor:
    """(N,) losses of a batch.

    Args:
        loss: a name of ``LOSSES``.
        output: of the network: (N, C, H, W), or (N, classes).
        target: clean pictures of the same shape, or (N,) labels.

    Raises:
        UserError: the loss does not fit what the network gives, or is not finite.
    """
    expected = output.shape[:1] if loss == "cross_entropy" else output.shape
    if target.shape != expected or (loss == "cross_entropy" and output.dim() != 2):
        needs = "labels, and logits (N, classes)" if loss == "cross_entropy" else "targets of the shape of the output"
        given = f"the network gives {list(output.shape)}, the data {list(target.shape)}"
        raise UserError(f"loss={loss}: {given}, but it needs {needs}; choose another of {', '.join(LOSSES)}")
    losses = LOSSES[loss](output, target)
    if not torch.isfinite(losses).all():
        raise UserError(f"loss={loss}: not finite on the calibration images; look for damaged images or weights")
    return losses


def _signs(output: Tensor, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, output.shape, generator=generator, dtype=output.dtype)
    return (2 * signs - 1).to(output.device)


def _per_value(output: Tensor, curvature: Tensor) -> Tensor:
    """Square root of a curvature per image, (N,), spread over the values of the output."""
    return (curvature / output[0].numel()).sqrt().reshape(-1, *[1] * (output.dim() - 1))


def _probe_psnr(output: Tensor, clean: Tensor, generator: torch.Generator) -> Tensor:
    return _signs(output, generator) * _per_value(output, 20 / math.log(10) / (_mean((output - clean).square()) + 1e-12))


def _probe_mse(output: Tensor, clean: Tensor, generator: torch.Generator) -> Tensor:
    return _signs(output, generator) * _per_value(output, torch.full_like(_mean(output), 2.0))


def _probe_l1(output: Tensor, clean: Tensor, generator: torch.Generator) -> Tensor:
    size = (output - clean).abs()
    typical = size.flatten(1).mean(dim=1).reshape(-1, *[1] * (output.dim() - 1))
    return _signs(output, generator) / (torch.maximum(size, typical + 1e-12) * output[0].numel()).sqrt()


def _probe_cross_entropy(output: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    chances = output.softmax(dim=1)
    drawn = torch.multinomial(chances.cpu(), 1, generator=generator)[:, 0].to(output.device)
    return chances - F.one_hot(drawn, output.shape[1])


# Random vectors r at the output, of its shape, with mean 0 and E[r r^T] = the curvature of the loss there (Gauss-Newton). That of
# "psnr" leaves out the logarithm's own, which is negative; "l1" has none, so it gets that of the parabola through the typical error;
# the labels of "cross_entropy" are drawn from what the network believes, which gives the Fisher information.
PROBES: dict[str, Callable[[Tensor, Tensor, torch.Generator], Tensor]] = {
    "psnr": _probe_psnr,
    "mse": _probe_mse,
    "l1": _probe_l1,
    "cross_entropy": _probe_cross_entropy,
}


def _taught_psnr(output: Tensor, clean: Tensor, taught: Tensor) -> Tensor:
    return 10 * torch.log10(_mean((taught - clean).square()) + _mean((output - taught).square()) + 1e-12)


def _taught_cross_entropy(output: Tensor, labels: Tensor, taught: Tensor) -> Tensor:
    return F.cross_entropy(output, taught.softmax(dim=1), reduction="none")


# The losses as they would be if what a network makes different from its teacher had nothing to do with the teacher's own error: output,
# target and the teacher's output -> (N,). Their slope cannot profit from the noise of the images that happen to be looked at.
TAUGHT: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "psnr": _taught_psnr,
    "mse": lambda output, clean, taught: _mean((output - taught).square()),
    "l1": lambda output, clean, taught: _mean((output - taught).abs()),
    "cross_entropy": _taught_cross_entropy,
}
