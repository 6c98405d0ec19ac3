"""The losses that training can minimise, by the name that settings give them."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F


def charbonnier(output: Tensor, clean: Tensor) -> Tensor:
    """Smooth L1 of (N, C, H, W) images: mean of ``sqrt(error**2 + 1e-6)`` (Charbonnier et al., 1994)."""
    return ((output - clean).square() + 1e-6).sqrt().mean()


def l1(output: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute error of two tensors of one shape."""
    return (output - clean).abs().mean()


def psnr(output: Tensor, clean: Tensor) -> Tensor:
    """Mean over the (N, C, H, W) images of ``10 log10(MSE)``: minus the PSNR in dB, so that every image weighs alike."""
    return 10 * ((output - clean).square().mean(dim=(1, 2, 3)) + 1e-8).log10().mean()


def cross_entropy(output: Tensor, labels: Tensor) -> Tensor:
    """Mean over the images of minus the log of the probability that (N, classes) logits give the label, in nats."""
    return F.cross_entropy(output, labels)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "charbonnier": charbonnier,
    "l1": l1,
    "psnr": psnr,
    "cross_entropy": cross_entropy,
}
