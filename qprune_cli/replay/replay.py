"""Running a network again after a change at its gates: only what depends on the change is computed anew."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from qprune_cli.graph.rules.layer import LAYERS
from qprune_cli.replay.gated import GatedNetwork, Weights
from qprune_cli.replay.part import Part, channels
from qprune_cli.replay.shortcut import Shortcut, part_of, shortcut
from qprune_cli.types import Bools


class Replay(fx.Interpreter):
    """Remembers every value of a masked network on a batch, and answers for other masks.

    What does not depend on a gate that changed is not computed again. Where only some channels of a value differ from the remembered
    ones, only these go on: through activations, pooling, sums, products and concatenations, up to a convolution, which adds what the
    change of these channels makes to its remembered output. Nothing is ever added to what was added, so rounding does not grow.

    Args:
        network: the operations, in evaluation mode.
        keep: (n,) mask at which values are remembered.
        x: (N, ...) images.
        channelwise: follow the change of single channels; otherwise whatever depends on a change is computed whole.

    Attributes:
        bytes: that the remembered values take.

    Example:
        >>> from torch import nn
        >>> from qprune_cli.replay.gated import GatedNetwork
        >>> from qprune_cli.graph.trace import trace
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False))
        >>> replay = Replay(GatedNetwork.of_dense(model, trace(model)), np.ones(2, bool), torch.ones(1, 1, 1, 1))
        >>> float(replay.flipped(0) + replay.flipped(1) - replay.answer)
        0.0
    """

    @torch.inference_mode()
    def __init__(self, network: GatedNetwork, keep: Bools, x: Tensor, channelwise: bool = True) -> None:
        super().__init__(network.model, garbage_collect_values=False, graph=network.graph)
        self.extra_traceback = False
        self.network, self.keep, self.device = network, keep.copy(), x.device
        self.args_iter = iter((x,))
        self.nodes: list[fx.Node] = list(network.graph.nodes)
        rules = ((node, shortcut(node, self.called(node))) for node in self.nodes if channelwise)
        self.shortcuts: dict[fx.Node, Shortcut] = {node: rule for node, rule in rules if rule is not None}
        last = {source: node for node in self.nodes for source in node.all_input_nodes}
        self.done = {node: [source for source, end in last.items() if end is node] for node in last.values()}
        self.masks = network.masks(keep)
        self.open: dict[fx.Node, Tensor] = {}  # outputs of gates, before the mask
        self.values: dict[fx.Node, Any] = {}
        self.fresh: dict[fx.Node, Any] = {}
        self.others: dict[fx.Node, Weights] = {}
        self.env = self.values
        for node in self.nodes:
            value = self.run_node(node)
            if node in self.masks:
                self.open[node], value = value, value.index_fill(1, self._places(~self.masks[node]), 0.0)
            self.values[node] = value

    @property
    def answer(self) -> Tensor:
        """What the network gives at the mask."""
        result: Tensor = self.values[self.nodes[-1]]
        return result

    @property
    def bytes(self) -> int:
        """What the remembered values take."""
        kept = {value.data_ptr(): value.nbytes for value in [*self.values.values(), *self.open.values()] if isinstance(value, Tensor)}
        return sum(kept.values())

    @torch.inference_mode()
    def at(self, keep: Bools, others: Mapping[str, Weights] | None = None) -> Tensor:
        """What the network gives at another (n,) mask; where the network is a part, the mask keeps no more than that.

        Args:
            keep: the mask.
            others: convolutions, by name, that have other weights and biases than the remembered ones.
        """
        self.others = self.network.weights(others or {})
        self._follow(keep, self._anew)
        result: Tensor = self._whole(self.nodes[-1])
        self.fresh, self.env, self.others = {}, {}, {}
        return result

    @torch.inference_mode()
    def read(self, keep: Bools) -> dict[fx.Node, Part]:
        """What layers read otherwise at another (n,) mask, if all layers before them go on giving what they gave."""
        found = {}

        def stopped(node: fx.Node) -> Any:
            if not isinstance(self.called(node), LAYERS):
                return self._anew(node)
            (source,) = node.all_input_nodes
            if source in self.fresh:
                found[node] = part_of(self.fresh[source], self.values[source])
            return None

        self._follow(keep, stopped)
        self.fresh, self.env = {}, {}
        return found

    def _follow(self, keep: Bools, anew: Callable[[fx.Node], Any]) -> None:
        """Go through all nodes that a mask changes."""
        self.fresh, self.env, masks = {}, dict(self.values), self.network.masks(keep)
        for node in self.nodes:
            moved = node in self.others or any(source in self.fresh for source in node.all_input_nodes)
            new = anew(node) if moved else None
            if node in masks:
                new = self._gate(node, new, masks[node])
            if new is not None and not (isinstance(new, Part) and not len(new.index)):
                self.fresh[node] = new
            self._forget(node)

    def flipped(self, i: int) -> Tensor:
        """What it gives when filter i alone changes sides: a kept one goes, a dropped one comes back."""
        keep = self.keep.copy()
        keep[i] = not keep[i]
        return self.at(keep)

    def dead(self) -> Bools:
        """(n,) True where a filter is exactly 0 before its gate, on all images of the batch; the network is whole."""
        layout, silent = self.network.layout, dict[str, Any]()
        for node, (name, _) in self.network.gates.items():
            silent[name] = silent.get(name, True) & ~(self.open[node] != 0).transpose(0, 1).flatten(1).any(dim=1).cpu().numpy()
        parts = [
            np.all([silent[m.gate][list(m.filters)] for m in group.members if m.gate in silent] or [np.ones(group.channels, bool)], axis=0)
            for group in layout.groups
        ]
        return np.concatenate(parts)

    def called(self, node: fx.Node) -> Any:
        """The module that a node calls; None where it calls none."""
        return self.submodules.get(str(node.target)) if node.op == "call_module" else None

    def with_input(self, node: fx.Node, source: fx.Node, value: Tensor) -> Tensor:
        """Run an operation with another value of an operand."""
        before, self.env[source] = self.env[source], value
        result: Tensor = self.run_node(node)
        self.env[source] = before
        return result

    def _anew(self, node: fx.Node) -> Any:
        """Compute a node, or the channels of it that change."""
        if node not in self.others and node in self.shortcuts and (few := self.shortcuts[node](self, node)) is not None:
            return few
        for source in node.all_input_nodes:
            self._whole(source)
        if node in self.others:
            return self.called(node)._conv_forward(self.env[node.all_input_nodes[0]], *self.others[node])
        return self.run_node(node)

    def _forget(self, node: fx.Node) -> None:
        """Let go what no later node reads: the next value lies in memory that is at hand then."""
        for source in self.done.get(node, ()):
            self.fresh.pop(source, None)
            self.env.pop(source, None)

    def _whole(self, node: fx.Node) -> Any:
        """The value of a node at the mask that is asked for."""
        if node in self.fresh:
            new = self.fresh[node]
            self.env[node] = new.onto(self.values[node]) if isinstance(new, Part) else new
        return self.env[node]

    def _gate(self, node: fx.Node, new: Any, mask: Bools) -> Part | Tensor | None:
        """Put the mask on what a gate gives; None for what it gives where that is as it was before the mask."""
        if isinstance(new, Tensor):
            return new.index_fill_(1, self._places(~mask), 0.0)
        changed = mask != self.masks[node]
        if new is not None:
            changed[new.index.cpu().numpy()] = True
        elif not changed.any():
            return None
        index, before = self._places(changed), self.open[node]
        values = channels(before, index) if new is None else new.among(before, index)
        return Part(index, values.index_fill(1, self._places(~mask[changed]), 0.0))

    def _places(self, mask: Bools) -> Tensor:
        return torch.from_numpy(np.flatnonzero(mask)).to(self.device)

    def fetch_attr(self, target: str) -> Any:
        """A parameter, a buffer, or a constant that stood in the code."""
        found = self.network.constants[target] if target in self.network.constants else super().fetch_attr(target)
        return found.to(self.device) if isinstance(found, Tensor) else found

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a module; one that works in place gets copies, as its inputs are remembered."""
        if any(getattr(module, "inplace", False) for module in self.submodules[str(target)].modules()):
            args = _copied(args)
        return super().call_module(target, args, kwargs)

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation."""
        if n in self.network.boxes:
            remembered = {source: self.env[source] for source in n.all_input_nodes}
            self.env |= {source: _copied((value,))[0] for source, value in remembered.items()}
            result = super().run_node(n)
            self.env |= remembered
            return result
        return super().run_node(n)


def _copied(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.clone() if isinstance(value, Tensor) else value for value in values)
