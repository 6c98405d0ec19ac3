"""Connection sensitivity: what the loss says of the weights of each filter, at a mask."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.calibration.feed import fed
from qprune_cli.calibration.loss import losses_of
from qprune_cli.calibration.weights import filter_rows
from qprune_cli.graph.masks import at_gates
from qprune_cli.types import Bools, FilterGroup, Floats, ImageSet, Layout


def connection_sensitivity(
    model: nn.Module, layout: Layout, images: ImageSet, loss: str, batch: int, keep: Bools | None
) -> tuple[Floats, Bools]:
    r"""Sum ``|w dL/dw|`` over the incoming weights of every filter, L the mean of the losses of all images.

    The gradient of a layer's weights is what arrives behind its gate, led back to that layer alone. So a dropped filter is asked
    as well, and what it says does not reach the layers before it.

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
    masks = {} if keep is None else at_gates(layout, keep)
    members = {member.layer: member for group in layout.groups for member in group.members}
    weights = {layer: cast(Tensor, model.get_submodule(layer).weight) for layer in members}
    asked = {layer: weight.requires_grad for layer, weight in weights.items()}
    slopes = {layer: torch.zeros_like(weight) for layer, weight in weights.items()}
    live = {member.gate: torch.zeros(member.width, dtype=torch.bool) for member in members.values()}
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    with ExitStack() as stack:
        for layer, member in members.items():
            stack.callback(weights[layer].requires_grad_, asked[layer])
            weights[layer].requires_grad_(True)
            hook = _watch(member.gate, masks.get(member.gate), seen)
            stack.callback(model.get_submodule(member.gate).register_forward_hook(hook).remove)
        for noisy, target in fed(model, images, batch, "score"):
            with torch.enable_grad():
                total = losses_of(loss, model(noisy), target).sum()
            behind = torch.autograd.grad(total, [masked for _, masked in seen.values()], retain_graph=True, materialize_grads=True)
            arriving = dict(zip(seen, behind, strict=True))
            for layer, member in members.items():
                opened = seen[member.gate][0]
                slopes[layer] += torch.autograd.grad(opened, weights[layer], arriving[member.gate], retain_graph=True)[0]
                live[member.gate] |= (opened.detach() != 0).transpose(0, 1).flatten(1).any(dim=1).cpu()
    sizes = {layer: (slopes[layer] * weights[layer].detach()).abs() / len(images) for layer in members}
    score = np.concatenate([_sums(model, group, sizes) for group in layout.groups])
    dead = np.concatenate([~_any(group, live) for group in layout.groups])
    return score, dead


def _watch(gate: str, mask: Bools | None, seen: dict[str, tuple[Tensor, Tensor]]) -> Callable[..., Any]:
    """Remember what comes to a gate and what leaves it; the network goes on with a copy, as it may work in place."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        opened = output.clone()
        dropped = torch.from_numpy(np.flatnonzero(~mask) if mask is not None else np.empty(0, np.int64)).to(output.device)
        masked = opened.index_fill(1, dropped, 0.0)
        seen[gate] = (opened, masked)
        return masked.clone()

    return hook


def _sums(model: nn.Module, group: FilterGroup, sizes: dict[str, Tensor]) -> Floats:
    """(channels,) sum over the weights of all filters of each variable."""
    rows = [filter_rows(model.get_submodule(m.layer), sizes[m.layer])[list(m.filters)] for m in group.members]
    found: Floats = np.sum([one.sum(axis=1) for one in rows], axis=0)
    return found


def _any(group: FilterGroup, live: dict[str, Tensor]) -> Bools:
    """(channels,) whether any filter of each variable is live."""
    found: Bools = np.any([live[m.gate].numpy()[list(m.filters)] for m in group.members], axis=0)
    return found
