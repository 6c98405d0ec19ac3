"""The losses whose rise scores predict: one number per image."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from qprune_cli.errors import UserError, nearest

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
