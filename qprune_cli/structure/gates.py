"""Gate gradients: how the loss answers when the output of a filter is scaled.

Put a gate ``z_i = 1`` on the output of filter i, where the mask acts. For sample s with loss ``L_s``:
``V_si = dL_s / dz_i = sum over positions of a_i * dL_s / da_i``. Samples do not interact, so one forward and backward
pass of a batch gives V for every sample of it.

References:
    Molchanov et al., "Importance estimation for neural network pruning", CVPR 2019, arXiv:1906.10771 (gates).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from qprune_cli.errors import UserError, nearest
from qprune_cli.types import Bools, FilterGroup, Floats, ImageSet, Layout, Member

Loss = Callable[[Tensor, Tensor], Tensor]


def _per_image(error: Tensor) -> Tensor:
    return error.flatten(1).mean(dim=1)


# Per-image losses: (N, C, H, W) output and target -> (N,). "psnr" is the negative PSNR in dB, up to a constant.
LOSSES: dict[str, Loss] = {
    "psnr": lambda output, clean: 10 * torch.log10(_per_image((output - clean).square()) + 1e-12),
    "mse": lambda output, clean: _per_image((output - clean).square()),
    "l1": lambda output, clean: _per_image((output - clean).abs()),
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


@dataclass(frozen=True)
class GateStatistics:
    """What one pass over the calibration images says about all filters.

    Attributes:
        gradients: (N, n) gate gradient of every image and variable: the matrix V. One gate scales all filters of a variable.
        products: per group (channels, channels): sum over images, positions and filters of ``a_i * a_j``.
        dead: (n,) True where the output was exactly 0 everywhere.
    """

    gradients: Floats
    products: tuple[Floats, ...]
    dead: Bools


@torch.enable_grad()
def gate_statistics(model: nn.Module, layout: Layout, images: ImageSet, loss: str, batch: int) -> GateStatistics:
    """Run all images forward and backward once; activations are never stored beyond their batch.

    Args:
        model: the network, in evaluation mode.
        layout: its filters.
        images: calibration images.
        loss: a name of ``LOSSES``.
        batch: images per pass.

    Raises:
        UserError: the loss is not finite on an image.
    """
    device = next(model.parameters()).device
    gradients: list[Tensor] = []
    products = [torch.zeros(group.channels, group.channels, dtype=torch.float64, device=device) for group in layout.groups]
    with _recorded(model, layout) as outputs, tqdm(total=len(images), desc="score", unit="image", leave=False, disable=None) as bar:
        for noisy, clean in images.batches(batch):
            result = model(torch.from_numpy(noisy).to(device).requires_grad_().clone())
            losses = LOSSES[loss](result, torch.from_numpy(clean).to(device))
            if not torch.isfinite(losses).all():
                raise UserError(f"loss={loss}: not finite on the calibration images; look for damaged images or weights")
            slopes = dict(zip(outputs, torch.autograd.grad(losses.sum(), list(outputs.values()), materialize_grads=True), strict=True))
            with torch.no_grad():
                gradients.append(torch.cat([_answers(group, outputs, slopes) for group in layout.groups], dim=1).double())
                for total, group in zip(products, layout.groups, strict=True):
                    for member in group.members:
                        flat = _own(outputs[member.gate], member).transpose(0, 1).flatten(1)
                        total += (flat @ flat.T).double()
            bar.update(len(noisy))
    inner = tuple(product.cpu().numpy() for product in products)
    dead = np.concatenate([np.diagonal(product) == 0 for product in inner])
    return GateStatistics(torch.cat(gradients).cpu().numpy(), inner, dead)


def _answers(group: FilterGroup, outputs: Mapping[str, Tensor], slopes: Mapping[str, Tensor]) -> Tensor:
    """(N, channels) gate gradients of the variables of a group."""
    products = [_own(outputs[member.gate], member) * _own(slopes[member.gate], member) for member in group.members]
    return sum(((one if one.dim() == 2 else one.flatten(2).sum(dim=2)) for one in products), torch.zeros(()))


def _own(value: Tensor, member: Member) -> Tensor:
    """The channels of a value that belong to a member, one per variable."""
    return value if len(member.filters) == member.width else value[:, list(member.filters)]


class _recorded:
    """Collects the outputs of all gates of the latest forward pass, by gate name."""

    def __init__(self, model: nn.Module, layout: Layout) -> None:
        self.outputs: dict[str, Tensor] = {}
        gates = {member.gate for group in layout.groups for member in group.members}
        self.handles = [model.get_submodule(gate).register_forward_hook(self._hook(gate)) for gate in sorted(gates)]

    def _hook(self, gate: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            self.outputs[gate] = output
            return output.clone()  # the network may go on in place, and what was recorded must not change

        return record

    def __enter__(self) -> dict[str, Tensor]:
        return self.outputs

    def __exit__(self, *details: object) -> None:
        for handle in self.handles:
            handle.remove()
