"""The losses whose rise scores predict: one number per image."""

from collections.abc import Callable, Collection

import torch
from torch import Tensor
from torch.nn import functional as F

from qprune_cli.errors import UserError, listed, nearest

Loss = Callable[[Tensor, Tensor], Tensor]
TeacherLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


def image_means(values: Tensor) -> Tensor:
    """(N, ...) -> (N,): the mean over all values of each image."""
    return values.flatten(1).mean(dim=1)


# Output and target -> (N,): (N, C, H, W) pictures, or (N, classes) logits and (N,) labels.
# "psnr" is the negative PSNR in dB, up to a constant.
LOSSES: dict[str, Loss] = {
    "psnr": lambda output, clean: 10 * torch.log10(image_means((output - clean).square()) + 1e-12),
    "mse": lambda output, clean: image_means((output - clean).square()),
    "l1": lambda output, clean: image_means((output - clean).abs()),
    "cross_entropy": lambda output, labels: F.cross_entropy(output, labels.long(), reduction="none"),
}
LABELLED = ("cross_entropy",)  # those that compare logits with labels; the others compare pictures


def _teacher_psnr(output: Tensor, clean: Tensor, taught: Tensor) -> Tensor:
    return 10 * torch.log10(image_means((taught - clean).square()) + image_means((output - taught).square()) + 1e-12)


# The losses as they would be if the difference between a network and its teacher had nothing to do with the teacher's own error: output,
# target and the teacher's output -> (N,). Their slope cannot profit from the noise of the images that happen to be looked at.
TEACHER_LOSSES: dict[str, TeacherLoss] = {
    "psnr": _teacher_psnr,
    "mse": lambda output, clean, taught: image_means((output - taught).square()),
    "l1": lambda output, clean, taught: image_means((output - taught).abs()),
    "cross_entropy": lambda output, labels, taught: F.cross_entropy(output, taught.softmax(dim=1), reduction="none"),
}


def refuse_labels(setting: str, loss: str, names: Collection[str]) -> None:
    """Refuse a loss that needs labels, for images that have none.

    Args:
        setting: name of the setting whose value it is.
        loss: name of the loss.
        names: all losses that the setting may name.

    Raises:
        UserError: it is one that needs labels.
    """
    if loss in LABELLED:
        raise UserError(f"{setting}={loss}: these images have no labels; choose {listed(name for name in names if name not in LABELLED)}")


def refuse_no_labels(setting: str, loss: str, names: Collection[str]) -> None:
    """Refuse a loss that compares pictures, for images that have labels; arguments as in ``refuse_labels``.

    Raises:
        UserError: it is one that compares pictures.
    """
    if loss not in LABELLED:
        raise UserError(f"{setting}={loss}: these images have labels; choose {listed(name for name in names if name in LABELLED)}")


def check_loss(loss: str) -> None:
    """Refuse a loss that does not exist.

    Raises:
        UserError: no such loss.
    """
    if loss not in LOSSES:
        raise UserError(f"loss={loss}: no such loss; {nearest(loss, LOSSES)}")


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
