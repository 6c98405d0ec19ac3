"""Connection sensitivity: how much the loss depends on the weights of each filter, at a mask."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.calibration.batches import device_batches
from qprune_cli.calibration.hooks import zero_dropped
from qprune_cli.calibration.loss import losses_of
from qprune_cli.calibration.weights import filter_rows
from qprune_cli.graph.masks import at_gates
from qprune_cli.types import Bools, FilterGroup, Floats, ImageSet, Layout, Member


class _GateOutput(NamedTuple):
    """(N, C, ...) output of a gate in the latest pass, before and behind the mask."""

    unmasked: Tensor
    masked: Tensor


def connection_sensitivity(
    model: nn.Module, layout: Layout, images: ImageSet, loss: str, batch: int, keep: Bools | None
) -> tuple[Floats, Bools]:
    r"""Sum ``|w dL/dw|`` over the incoming weights of every filter, L the mean of the losses of all images.

    The gradient of a layer's weights is the gradient behind its gate, led back to that layer alone. So a dropped filter has one as well,
    and it does not reach the layers before it.

    Args:
        model: the network, in evaluation mode.
        layout: its filters.
        images: calibration images.
        loss: a name of ``LOSSES``.
        batch: images per pass.
        keep: (n,) mask at which gradients are taken; None keeps all.

    Returns:
        (n,) sensitivities, and (n,) True where the output of a variable was exactly 0 everywhere.

    Raises:
        UserError: the loss does not fit the network, or is not finite on an image.
    """
    members = {member.layer: member for group in layout.groups for member in group.members}
    weights = {layer: cast(Tensor, model.get_submodule(layer).weight) for layer in members}
    gradients = {layer: torch.zeros_like(weight) for layer, weight in weights.items()}
    live = {member.gate: torch.zeros(member.width, dtype=torch.bool) for member in members.values()}
    outputs: dict[str, _GateOutput] = {}
    with ExitStack() as stack:
        _watch(model, members, weights, {} if keep is None else at_gates(layout, keep), outputs, stack)
        for inputs, targets in device_batches(model, images, batch, "score"):
            with torch.enable_grad():
                total = losses_of(loss, model(inputs), targets).sum()
            behind = _gradients_behind_gates(total, outputs)
            for layer, member in members.items():
                unmasked = outputs[member.gate].unmasked
                gradients[layer] += torch.autograd.grad(unmasked, weights[layer], behind[member.gate], retain_graph=True)[0]
                live[member.gate] |= (unmasked.detach() != 0).transpose(0, 1).flatten(1).any(dim=1).cpu()
    sizes = {layer: (gradients[layer] * weights[layer].detach()).abs() / len(images) for layer in members}
    sensitivities = np.concatenate([_sums(model, group, sizes) for group in layout.groups])
    return sensitivities, np.concatenate([~_live(group, live) for group in layout.groups])


def _watch(
    model: nn.Module,
    members: Mapping[str, Member],
    weights: Mapping[str, Tensor],
    masks: Mapping[str, Bools],
    outputs: dict[str, _GateOutput],
    stack: ExitStack,
) -> None:
    """Until the stack ends: weights need gradients, gates are masked, and ``outputs`` hold what the gates gave in the latest pass."""
    for layer, member in members.items():
        stack.callback(weights[layer].requires_grad_, weights[layer].requires_grad)
        weights[layer].requires_grad_(True)
        hook = _gate_hook(member.gate, masks.get(member.gate), outputs)
        stack.callback(model.get_submodule(member.gate).register_forward_hook(hook).remove)


def _gate_hook(gate: str, mask: Bools | None, outputs: dict[str, _GateOutput]) -> Callable[..., Tensor]:
    """Store what a gate gives; the network goes on with copies, as it may work in place."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        unmasked = output.clone()
        outputs[gate] = _GateOutput(unmasked, zero_dropped(unmasked, mask))
        return outputs[gate].masked.clone()

    return hook


def _gradients_behind_gates(total: Tensor, outputs: Mapping[str, _GateOutput]) -> dict[str, Tensor]:
    """(N, C, ...) gradients of the loss with respect to the masked outputs of all gates."""
    masked = [output.masked for output in outputs.values()]
    return dict(zip(outputs, torch.autograd.grad(total, masked, retain_graph=True, materialize_grads=True), strict=True))


def _sums(model: nn.Module, group: FilterGroup, sizes: dict[str, Tensor]) -> Floats:
    """(channels,) sum over the weights of all filters of each variable."""
    rows = [filter_rows(model.get_submodule(m.layer), sizes[m.layer])[list(m.filters)] for m in group.members]
    total: Floats = np.sum([one.sum(axis=1) for one in rows], axis=0)
    return total


def _live(group: FilterGroup, live: dict[str, Tensor]) -> Bools:
    """(channels,) whether any filter of each variable is live."""
    any_live: Bools = np.any([live[m.gate].numpy()[list(m.filters)] for m in group.members], axis=0)
    return any_live
