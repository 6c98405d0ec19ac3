"""What an error behind a gate does to the outputs of the layers that read it, by random probes (Hutchinson)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.calibration.hooks import zero_dropped
from qprune_cli.graph.masks import at_gates, per_layer
from qprune_cli.graph.rules.layer import LAYERS
from qprune_cli.types import Bools, Layout


class Readers:
    r"""Cuts a network behind every gate, so that a gate is read by the layers up to the next gates and by nothing behind them.

    With outputs ``y_l`` of all convolutions and linear layers and of the network, J the Jacobian of all ``y_l / ||y_l||``
    with respect to what leaves the gates, and random signs r: ``G = J^T r``. As the mean of ``r r^T`` is the identity, that of
    ``(G . delta)^2`` is ``||J delta||^2 = sum_l ||J_l delta||^2 / ||y_l||^2``: the error that delta makes, as a share of the
    energy of what it disturbs, summed over its readers. Sums, concatenations, products and up-sampling on the way are all in J.

    Filters that the mask drops are no readers. Use it as a context manager: hooks stay until it ends.

    Args:
        model: the network, in evaluation mode.
        layout: its filters.
        keep: (n,) the mask; None keeps all.

    References:
        Hutchinson, "A stochastic estimator of the trace of the influence matrix", Communications in Statistics 19, 1990.
    """

    def __init__(self, model: nn.Module, layout: Layout, keep: Bools | None) -> None:
        mask = np.ones(layout.n, bool) if keep is None else keep
        self.model, self.masks, self.filters = model, at_gates(layout, mask), per_layer(layout, mask)
        self.gates = {member.gate for group in layout.groups for member in group.members}
        self.unmasked: dict[str, Tensor] = {}  # what comes to each gate
        self.masked: dict[str, Tensor] = {}  # what leaves it; the network is cut here
        self.outputs: list[tuple[str, Tensor]] = []
        self.stack = ExitStack()

    def __enter__(self) -> "Readers":
        for name, module in self.model.named_modules():
            if isinstance(module, LAYERS):  # before the gates: a layer may be its own
                self._hook(module, self._reader(name))
        for gate in self.gates:
            self._hook(self.model.get_submodule(gate), self._cutter(gate))
        return self

    def __exit__(self, *details: object) -> None:
        self.stack.close()

    @torch.enable_grad()
    def probes(self, x: Tensor, count: int, generator: torch.Generator) -> Iterator[Mapping[str, tuple[Tensor, Tensor]]]:
        """Run images forward once, and backward once for every probe.

        Args:
            x: (N, ...) images.
            count: number of probes.
            generator: draws the signs.

        Yields:
            For every gate (N, C, ...) what comes to it, before the mask, and ``G``.
        """
        self.outputs.clear()
        result = self.model(x)
        readers = [(name, value) for name, value in [*self.outputs, ("", result)] if value.requires_grad]
        weights = [self._weight(name, value.detach()) for name, value in readers]
        values, cuts = [value for _, value in readers], [self.masked[gate] for gate in self.unmasked]
        for k in range(count):
            signs = [weight * _signs(weight, generator) for weight in weights]
            slopes = torch.autograd.grad(values, cuts, signs, retain_graph=k + 1 < count, allow_unused=True, materialize_grads=True)
            yield {gate: (unmasked, slope) for (gate, unmasked), slope in zip(self.unmasked.items(), slopes, strict=True)}

    def _weight(self, name: str, value: Tensor) -> Tensor:
        """``1 / ||y||`` of every image, 0 where the mask drops the filter."""
        mask = torch.from_numpy(self.filters.get(name, np.ones(value.shape[1], bool))).to(value)
        kept = mask.view(1, -1, *[1] * (value.dim() - 2)).expand_as(value)
        length = (value * kept).flatten(1).norm(dim=1).view(-1, *[1] * (value.dim() - 1))
        return torch.where(length > 0, kept / length, torch.zeros_like(value))

    def _hook(self, module: nn.Module, hook: Callable[..., Any]) -> None:
        self.stack.callback(module.register_forward_hook(hook).remove)

    def _reader(self, name: str) -> Callable[..., Tensor]:
        """A hook that notes the output of a layer."""

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            self.outputs.append((name, output))
            return output.clone()  # the network may go on in place

        return hook

    def _cutter(self, gate: str) -> Callable[..., Tensor]:
        """A hook that masks a gate and begins a new graph behind it."""

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            self.unmasked[gate] = output.detach()
            self.masked[gate] = zero_dropped(self.unmasked[gate], self.masks.get(gate)).requires_grad_()
            return self.masked[gate].clone()

        return hook


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    """Random signs of the shape, type and device of a tensor."""
    return torch.randint(0, 2, like.shape, generator=generator, dtype=torch.int8).to(like) * 2 - 1
