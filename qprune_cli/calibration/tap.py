"""Taps: what goes through the gates of a network, and how the loss answers, seen while it runs and added up."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from qprune_cli.graph.masks import at_gates
from qprune_cli.types import Bools, Layout


class Tap:
    """One gate: running sums over the batches, and the gate gradients of the latest batch.

    Attributes:
        products: (width, width) sum over images and positions of ``a_i * a_j``, float64.
        sums: (width,) sum over images and positions of ``a_i``, float64.
        positions: number of images times positions.
        answers: (N, width) gate gradients of the latest batch; 0 where the loss does not depend on the gate.
    """

    def __init__(self, width: int, device: torch.device) -> None:
        self.products = torch.zeros(width, width, dtype=torch.float64, device=device)
        self.sums = torch.zeros(width, dtype=torch.float64, device=device)
        self.positions = 0
        self.answers = torch.empty(0, width, device=device)

    @torch.no_grad()
    def see(self, output: Tensor) -> None:
        """Add what goes through the gate."""
        maps = maps_of(output)
        self.products += _products(maps)
        self.sums += maps.sum(dim=2).sum(dim=0)
        self.positions += maps.shape[0] * maps.shape[2]
        self.answers = torch.zeros(maps.shape[:2], dtype=maps.dtype, device=maps.device)

    def answer(self, output: Tensor, slope: Tensor) -> None:
        """Take how the loss answers: ``V_si = sum over positions of a_i * dL_s / d(masked a_i)``."""
        self.answers = torch.linalg.vecdot(maps_of(output), maps_of(slope))


class _Gate(torch.autograd.Function):
    """The mask. Backward tells the tap what arrives, before the mask, and hands on what the mask lets through.

    ``anchor`` requires a gradient, so that a gate is asked even where nothing before it needs one.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, anchor: Tensor, mask: Tensor | None, copied: bool, tap: Tap) -> Tensor:
        ctx.save_for_backward(output)
        ctx.mask, ctx.tap = mask, tap
        if mask is not None:
            return output * mask  # a third of the time of filling with 0
        return output.clone() if copied else output.detach()

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        (slope,) = slopes
        ctx.tap.answer(*ctx.saved_tensors, slope)
        if not ctx.needs_input_grad[0]:
            return None, None, None, None, None
        return (slope if ctx.mask is None else slope * ctx.mask), None, None, None, None


@contextmanager
def tapped(model: nn.Module, layout: Layout, keep: Bools | None, example: Tensor) -> Iterator[dict[str, Tap]]:
    """Tap all gates of a network inside a ``with`` block, at a mask; gradients flow to the gates and nowhere else.

    Args:
        model: the network, in evaluation mode; its weights need no gradient inside the block.
        layout: its filters.
        keep: (n,) the mask; None keeps all.
        example: one image, to see which gates are changed in place by what follows.

    Yields:
        The taps by gate name.
    """
    masks = {} if keep is None else at_gates(layout, keep)
    widths = {member.gate: member.width for group in layout.groups for member in group.members}
    taps = {gate: Tap(width, example.device) for gate, width in widths.items()}
    anchor = torch.zeros((), device=example.device, requires_grad=True)
    changed = _changed_in_place(model, list(taps), example)
    with ExitStack() as stack:
        stack.enter_context(_frozen_weights(model))
        for gate, tap in taps.items():
            mask = torch.from_numpy(masks[gate]).to(example) if gate in masks else None
            hook = _hook(tap, anchor, mask, gate in changed)
            stack.callback(model.get_submodule(gate).register_forward_hook(hook).remove)
        yield taps


def _hook(tap: Tap, anchor: Tensor, mask: Tensor | None, copied: bool) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Any]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Any:
        tap.see(output)
        own = None if mask is None else mask.view(1, -1, *[1] * (output.dim() - 2))
        return _Gate.apply(output, anchor, own, copied, tap)  # type: ignore[no-untyped-call]

    return hook


@torch.no_grad()
def _changed_in_place(model: nn.Module, gates: list[str], example: Tensor) -> set[str]:
    """Gates whose output is changed later in the forward pass; a copy goes on there, as the gradient needs what was."""
    seen: dict[str, tuple[Tensor, int]] = {}

    def watch(gate: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[gate] = (output, output._version)

        return hook

    with ExitStack() as stack:
        for gate in gates:
            stack.callback(model.get_submodule(gate).register_forward_hook(watch(gate)).remove)
        model(example.clone())
    return {gate for gate, (output, version) in seen.items() if output._version != version}


@contextmanager
def _frozen_weights(model: nn.Module) -> Iterator[None]:
    """Weights need no gradient inside the block."""
    wanted = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in wanted:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in wanted:
            weight.requires_grad_(True)


def _products(maps: Tensor) -> Tensor:
    """(width, width) inner products over images and positions, the faster way: maps that are large are not moved."""
    if maps.shape[2] < maps.shape[1]:
        flat = maps.transpose(0, 1).flatten(1)
        return flat @ flat.T
    return torch.bmm(maps, maps.mT).sum(dim=0)


def maps_of(value: Tensor) -> Tensor:
    """(N, C, ...) -> (N, C, positions)."""
    return value.flatten(2) if value.dim() > 2 else value.unsqueeze(2)
