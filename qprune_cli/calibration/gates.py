"""Gate gradients: how the loss changes when the output of a filter is scaled.

Put a gate ``z_i`` on the output ``a_i`` of filter i, where the mask acts: 1 for a kept filter, 0 for a dropped one. For sample
s with loss ``L_s``: ``V_si = dL_s / dz_i = sum over positions of a_i * dL_s / d(z_i a_i)``. Samples do not interact, so one
forward and backward pass of a batch gives V for every sample of it. As the gate acts behind the activation, a dropped filter
has a gradient as well: what the loss does when it comes back. (Where a function, rather than a module, is the activation, the
gate lies before it, and a dropped filter behind a ReLU may have none.)

References:
    Molchanov et al., "Importance estimation for neural network pruning", CVPR 2019, arXiv:1906.10771 (gates).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.calibration.batches import device_batches, first_input
from qprune_cli.calibration.gram_factor import Halves
from qprune_cli.calibration.hooks import GateHook, hooked
from qprune_cli.calibration.loss import losses_of
from qprune_cli.types import Bools, FilterGroup, Floats, ImageSet, Layout, Member


@dataclass(frozen=True)
class Activations:
    """Sums over the outputs of the filters of a group, over images and positions.

    Attributes:
        products: (channels, channels) sum of ``a_i * a_j``, over the members as well.
        sums: (members, channels) sum of ``a_i``.
        positions: (members,) number of summands.
    """

    products: Floats
    sums: Floats
    positions: Floats


@dataclass(frozen=True)
class GateStatistics:
    """What one pass over the calibration images says about all variables. One gate scales all filters of a variable.

    Attributes:
        images: N, number of images.
        mean: (n,) ``mean_s V_si``: the gradient of the loss.
        mean_abs: (n,) ``mean_s |V_si|``.
        mean_square: (n,) ``mean_s V_si**2``.
        halves: two factors (rows, n), of the even and of the odd images: ``F^T F = (1/N_half) V_half^T V_half``.
        activations: one for each group.
        dead: (n,) True where the output was exactly 0 everywhere.
    """

    images: int
    mean: Floats
    mean_abs: Floats
    mean_square: Floats
    halves: tuple[Floats, Floats]
    activations: tuple[Activations, ...]
    dead: Bools

    @property
    def factor(self) -> Floats:
        """(rows, n) with ``factor.T @ factor = (1/N) V^T V``; exact while the images are few (see ``GramFactor``)."""
        counts = (self.images + 1) // 2, self.images // 2
        return np.concatenate([half * np.sqrt(count / self.images) for half, count in zip(self.halves, counts, strict=True)])


class _GradientSums:
    """Sums of gate gradients over the images."""

    def __init__(self, n: int) -> None:
        self.images = 0
        self.plain, self.abs, self.square = np.zeros(n), np.zeros(n), np.zeros(n)
        self.halves = Halves(n)

    def add(self, gradients: Floats) -> None:
        """Add the (N, n) gate gradients of a batch."""
        self.plain += gradients.sum(axis=0)
        self.abs += np.abs(gradients).sum(axis=0)
        self.square += np.square(gradients).sum(axis=0)
        self.halves.add(gradients, self.images)
        self.images += len(gradients)


@torch.enable_grad()
def gate_statistics(model: nn.Module, layout: Layout, images: ImageSet, loss: str, batch: int, keep: Bools | None = None) -> GateStatistics:
    """Run all images forward and backward once, at a mask; nothing that grows with their number is stored.

    Args:
        model: the network, in evaluation mode.
        layout: its filters.
        images: calibration images.
        loss: a name of ``LOSSES``.
        batch: images per pass.
        keep: (n,) mask at which gradients are taken; None keeps all. Activations of dropped filters are those before the gate.

    Raises:
        UserError: the loss does not fit the network, or is not finite on an image.
    """
    sums = _GradientSums(layout.n)
    with hooked(model, layout, keep, first_input(model, images)) as hooks:
        for inputs, targets in device_batches(model, images, batch, "score"):
            losses_of(loss, model(inputs), targets).sum().backward()
            sums.add(gate_gradients(layout, hooks))
    activations = tuple(activations_of(group, hooks) for group in layout.groups)
    mean, mean_abs, mean_square = (total / sums.images for total in (sums.plain, sums.abs, sums.square))
    return GateStatistics(sums.images, mean, mean_abs, mean_square, sums.halves.rows(), activations, dead_of(activations))


def gate_gradients(layout: Layout, hooks: Mapping[str, GateHook]) -> Floats:
    """(N, n) gate gradients V of the latest batch, from the hooks at all gates."""
    gradients: Floats = torch.cat([_of_group(group, hooks) for group in layout.groups], dim=1).double().cpu().numpy()
    return gradients


def dead_of(activations: Sequence[Activations]) -> Bools:
    """(n,) True where all that went through the gate was 0."""
    return np.concatenate([np.diagonal(group.products) == 0 for group in activations])


def activations_of(group: FilterGroup, hooks: Mapping[str, GateHook]) -> Activations:
    """Sums over all batches for the variables of a group, from the hooks at the gates of its members."""
    members = [(member, hooks[member.gate]) for member in group.members]
    products = torch.stack([_filters(_filters(hook.products, member).T, member) for member, hook in members]).sum(dim=0)
    sums = torch.stack([_filters(hook.sums, member) for member, hook in members])
    positions = np.array([hook.positions for _, hook in members], np.float64)
    return Activations(products.cpu().numpy(), sums.cpu().numpy(), positions)


def _of_group(group: FilterGroup, hooks: Mapping[str, GateHook]) -> Tensor:
    """(N, channels) gate gradients of the variables of a group: one gate scales all members."""
    return torch.stack([_filters(hooks[member.gate].gradients, member) for member in group.members]).sum(dim=0)


def _filters(value: Tensor, member: Member) -> Tensor:
    """(..., width) -> (..., channels): the filters of a member, one for each variable of its group."""
    return value if member.filters == tuple(range(member.width)) else value[..., list(member.filters)]
