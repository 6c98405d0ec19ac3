"""Hooks at the gates of a network: they put a mask there, add up what passes, and take the gate gradients of every batch."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.graph.masks import at_gates
from qprune_cli.types import Bools, Layout


class GateHook:
    """What one gate has seen: sums over all batches, and the gate gradients of the latest one.

    Attributes:
        products: (width, width) sum over images and positions of ``a_i * a_j``, float64.
        sums: (width,) sum over images and positions of ``a_i``, float64.
        positions: number of images times positions.
        gradients: (N, width) gate gradients of the latest batch; 0 where the loss does not depend on the gate.
    """

    def __init__(self, width: int, device: torch.device) -> None:
        self.products = torch.zeros(width, width, dtype=torch.float64, device=device)
        self.sums = torch.zeros(width, dtype=torch.float64, device=device)
        self.positions = 0
        self.gradients = torch.empty(0, width, device=device)

    @torch.no_grad()
    def add(self, output: Tensor) -> None:
        """Add a batch (N, width, ...) of what passes the gate, before the mask."""
        maps = maps_of(output)
        self.products += _products(maps)
        self.sums += maps.sum(dim=2).sum(dim=0)
        self.positions += maps.shape[0] * maps.shape[2]
        self.gradients = torch.zeros(maps.shape[:2], dtype=maps.dtype, device=maps.device)

    def differentiate(self, output: Tensor, slope: Tensor) -> None:
        """Set the gate gradients: ``V_si = sum over positions of a_i * dL_s / d(masked a_i)``, from (N, width, ...) both."""
        self.gradients = torch.linalg.vecdot(maps_of(output), maps_of(slope))


class _Gate(torch.autograd.Function):
    """The mask. Backward gives the hook the gradient behind the mask, and hands on what the mask lets through.

    ``anchor`` requires a gradient, so that backward reaches a gate even where nothing before it needs one.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, anchor: Tensor, mask: Tensor | None, copied: bool, hook: GateHook) -> Tensor:
        ctx.save_for_backward(output)
        ctx.mask, ctx.hook = mask, hook
        if mask is not None:
            return output * mask  # a third of the time of filling with 0
        return output.clone() if copied else output.detach()

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        (slope,) = slopes
        ctx.hook.differentiate(*ctx.saved_tensors, slope)
        if not ctx.needs_input_grad[0]:
            return None, None, None, None, None
        return (slope if ctx.mask is None else slope * ctx.mask), None, None, None, None


@contextmanager
def hooked(model: nn.Module, layout: Layout, keep: Bools | None, example: Tensor) -> Iterator[dict[str, GateHook]]:
    """Hook all gates of a network inside a ``with`` block, at a mask; gradients flow to the gates and nowhere else.

    Args:
        model: the network, in evaluation mode; its weights need no gradient inside the block.
        layout: its filters.
        keep: (n,) the mask; None keeps all.
        example: one image, to see which gates are changed in place by what follows.

    Yields:
        The hooks by name of the gate.
    """
    masks = {} if keep is None else at_gates(layout, keep)
    widths = {member.gate: member.width for group in layout.groups for member in group.members}
    hooks = {gate: GateHook(width, example.device) for gate, width in widths.items()}
    anchor = torch.zeros((), device=example.device, requires_grad=True)
    changed = _changed_in_place(model, list(hooks), example)
    with ExitStack() as stack:
        stack.enter_context(_frozen_weights(model))
        for gate, hook in hooks.items():
            mask = torch.from_numpy(masks[gate]).to(example) if gate in masks else None
            function = _forward_hook(hook, anchor, mask, gate in changed)
            stack.callback(model.get_submodule(gate).register_forward_hook(function).remove)
        yield hooks


def zero_dropped(output: Tensor, mask: Bools | None) -> Tensor:
    """A copy of what (N, C, ...) a gate gives, 0 in the channels that its (C,) mask drops; None drops none."""
    dropped = np.empty(0, np.int64) if mask is None else np.flatnonzero(~mask)
    return output.index_fill(1, torch.from_numpy(dropped).to(output.device), 0.0)


def maps_of(value: Tensor) -> Tensor:
    """(N, C, ...) -> (N, C, positions); a value without positions has one."""
    return value.flatten(2) if value.dim() > 2 else value.unsqueeze(2)


def _forward_hook(
    hook: GateHook, anchor: Tensor, mask: Tensor | None, copied: bool
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Any]:
    def function(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Any:
        hook.add(output)
        shaped = None if mask is None else mask.view(1, -1, *[1] * (output.dim() - 2))
        return _Gate.apply(output, anchor, shaped, copied, hook)  # type: ignore[no-untyped-call]

    return function


@torch.no_grad()
def _changed_in_place(model: nn.Module, gates: list[str], example: Tensor) -> set[str]:
    """Gates whose output is changed later in the forward pass: the gradient needs it as it was, so these hand on a copy."""
    outputs: dict[str, tuple[Tensor, int]] = {}

    def watch(gate: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def function(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[gate] = (output, output._version)

        return function

    with ExitStack() as stack:
        for gate in gates:
            stack.callback(model.get_submodule(gate).register_forward_hook(watch(gate)).remove)
        model(example.clone())
    return {gate for gate, (output, version) in outputs.items() if output._version != version}


@contextmanager
def _frozen_weights(model: nn.Module) -> Iterator[None]:
    """Weights need no gradient inside the block."""
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trainable:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trainable:
            weight.requires_grad_(True)


def _products(maps: Tensor) -> Tensor:
    """(width, width) inner products over images and positions, the faster way: maps that are large are not moved."""
    if maps.shape[2] < maps.shape[1]:
        flat = maps.transpose(0, 1).flatten(1)
        return flat @ flat.T
    return torch.bmm(maps, maps.mT).sum(dim=0)
