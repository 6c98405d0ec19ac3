"""Running a network again after a change at its gates: only what depends on the change is computed anew."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from qprune_cli.graph.rules.layer import LAYERS
from qprune_cli.replay.channels import ChangedChannels, select_channels
from qprune_cli.replay.gated import GatedNetwork, Weights
from qprune_cli.replay.shortcut import Shortcut, changed_channels, shortcut
from qprune_cli.types import Bools


class Replay(fx.Interpreter):
    """Remembers every value of a masked network on a batch, and gives its output for other masks.

    What does not depend on a gate that changed is not computed again. Where only some channels of a value differ from the remembered
    ones, only these go on: through activations, pooling, sums, products and concatenations, up to a convolution, which adds what the
    change of these channels makes to its remembered output. Nothing is ever added to what was added, so rounding does not grow.

    Args:
        network: the operations, in evaluation mode.
        keep: (n,) mask at which values are remembered.
        x: (N, ...) images.
        channelwise: follow the change of single channels; otherwise whatever depends on a change is computed whole.

    Attributes:
        values: what each operation gave, at the mask.
        unmasked: what each gate gave before the mask.
        changed: during a pass at another mask: what operations give now, for those that give something else.

    Example:
        >>> from torch import nn
        >>> from qprune_cli.replay.gated import GatedNetwork
        >>> from qprune_cli.graph.trace import trace
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False))
        >>> replay = Replay(GatedNetwork.of_dense(model, trace(model)), np.ones(2, bool), torch.ones(1, 1, 1, 1))
        >>> float(replay.flipped(0) + replay.flipped(1) - replay.network_output)
        0.0
    """

    @torch.inference_mode()
    def __init__(self, network: GatedNetwork, keep: Bools, x: Tensor, channelwise: bool = True) -> None:
        super().__init__(network.model, garbage_collect_values=False, graph=network.graph)
        self.extra_traceback = False
        self.network, self.keep, self.device = network, keep.copy(), x.device
        self.args_iter = iter((x,))
        self.nodes: list[fx.Node] = list(network.graph.nodes)
        rules = ((node, shortcut(node, self.module_of(node))) for node in self.nodes if channelwise)
        self.shortcuts: dict[fx.Node, Shortcut] = {node: rule for node, rule in rules if rule is not None}
        self.masks = network.masks(keep)
        self.unmasked: dict[fx.Node, Tensor] = {}
        self.values: dict[fx.Node, Any] = {}
        self.changed: dict[fx.Node, Any] = {}
        self.refitted: dict[fx.Node, Weights] = {}
        self._last_read = _last_read(self.nodes)
        self.env = self.values
        for node in self.nodes:
            value = self.run_node(node)
            if node in self.masks:
                self.unmasked[node], value = value, value.index_fill(1, self._index(~self.masks[node]), 0.0)
            self.values[node] = value

    @property
    def network_output(self) -> Tensor:
        """(N, ...) what the network gives at the mask."""
        result: Tensor = self.values[self.nodes[-1]]
        return result

    @property
    def bytes(self) -> int:
        """Bytes of memory that the remembered values take."""
        values = [value for value in [*self.values.values(), *self.unmasked.values()] if isinstance(value, Tensor)]
        return sum({value.data_ptr(): value.nbytes for value in values}.values())

    @torch.inference_mode()
    def at(self, keep: Bools, refitted: Mapping[str, Weights] | None = None) -> Tensor:
        """(N, ...) what the network gives at another (n,) mask.

        Args:
            keep: the mask; where the network is what a mask leaves, it keeps no more than that.
            refitted: weights and biases of convolutions that have others than the remembered ones, by name.
        """
        self.refitted = self.network.weights(refitted or {})
        self._follow(keep, self._recomputed)
        result: Tensor = self._full(self.nodes[-1])
        self.changed, self.env, self.refitted = {}, {}, {}
        return result

    @torch.inference_mode()
    def changed_inputs(self, keep: Bools) -> dict[fx.Node, ChangedChannels]:
        """The changed inputs of layers at another (n,) mask, by layer, if all layers before them go on giving what they gave."""
        inputs = {}

        def stop_at_layers(node: fx.Node) -> Any:
            if not isinstance(self.module_of(node), LAYERS):
                return self._recomputed(node)
            (source,) = node.all_input_nodes
            if source in self.changed:
                inputs[node] = changed_channels(self.changed[source], self.values[source])
            return None

        self._follow(keep, stop_at_layers)
        self.changed, self.env = {}, {}
        return inputs

    def flipped(self, i: int) -> Tensor:
        """(N, ...) what it gives when filter i alone changes sides: a kept one goes, a dropped one comes back."""
        keep = self.keep.copy()
        keep[i] = not keep[i]
        return self.at(keep)

    def dead(self) -> Bools:
        """(n,) True where a filter is exactly 0 before its gate, on all images of the batch; the network is whole."""
        layout, silent = self.network.layout, dict[str, Any]()
        for node, gate in self.network.gates.items():
            zero = ~(self.unmasked[node] != 0).transpose(0, 1).flatten(1).any(dim=1).cpu().numpy()
            silent[gate.name] = silent.get(gate.name, True) & zero
        parts = [
            np.all([silent[m.gate][list(m.filters)] for m in group.members if m.gate in silent] or [np.ones(group.channels, bool)], axis=0)
            for group in layout.groups
        ]
        return np.concatenate(parts)

    def module_of(self, node: fx.Node) -> Any:
        """The module that a node calls; None where it calls none."""
        return self.submodules.get(str(node.target)) if node.op == "call_module" else None

    def with_input(self, node: fx.Node, source: fx.Node, value: Tensor) -> Tensor:
        """(N, ...) result of an operation with another value of one operand."""
        before, self.env[source] = self.env[source], value
        result: Tensor = self.run_node(node)
        self.env[source] = before
        return result

    def _follow(self, keep: Bools, recomputed: Callable[[fx.Node], Any]) -> None:
        """Go through all operations and recompute those that an (n,) mask changes."""
        self.changed, self.env, masks = {}, dict(self.values), self.network.masks(keep)
        for node in self.nodes:
            affected = node in self.refitted or any(source in self.changed for source in node.all_input_nodes)
            value = recomputed(node) if affected else None
            if node in masks:
                value = self._masked(node, value, masks[node])
            if value is not None and not (isinstance(value, ChangedChannels) and not len(value.index)):
                self.changed[node] = value
            self._free(node)

    def _recomputed(self, node: fx.Node) -> Any:
        """The value of a node, or the channels of it that change, before the mask."""
        if node not in self.refitted and node in self.shortcuts and (few := self.shortcuts[node](self, node)) is not None:
            return few
        for source in node.all_input_nodes:
            self._full(source)
        if node in self.refitted:
            return self.module_of(node)._conv_forward(self.env[node.all_input_nodes[0]], *self.refitted[node])
        return self.run_node(node)

    def _free(self, node: fx.Node) -> None:
        """Let go of what no later node reads: the next value lies in memory that is at hand then."""
        for source in self._last_read.get(node, ()):
            self.changed.pop(source, None)
            self.env.pop(source, None)

    def _full(self, node: fx.Node) -> Any:
        """The whole value of a node at the mask of this pass, which ``env`` has from now on."""
        if node in self.changed:
            value = self.changed[node]
            self.env[node] = value.onto(self.values[node]) if isinstance(value, ChangedChannels) else value
        return self.env[node]

    def _masked(self, node: fx.Node, value: Any, mask: Bools) -> ChangedChannels | Tensor | None:
        """Put the mask on what a gate gives.

        Args:
            node: the gate.
            value: what it gives before the mask, or the channels of it that change; None where none do.
            mask: of its channels.

        Returns:
            The same behind the mask; None where nothing changes there.
        """
        if isinstance(value, Tensor):
            return value.index_fill_(1, self._index(~mask), 0.0)
        differs = mask != self.masks[node]
        if value is not None:
            differs[value.index.cpu().numpy()] = True
        elif not differs.any():
            return None
        index, before = self._index(differs), self.unmasked[node]
        values = select_channels(before, index) if value is None else value.among(before, index)
        return ChangedChannels(index, values.index_fill(1, self._index(~mask[differs]), 0.0))

    def _index(self, mask: Bools) -> Tensor:
        """The channels of a (C,) mask, on the device."""
        return torch.from_numpy(np.flatnonzero(mask)).to(self.device)

    def fetch_attr(self, target: str) -> Any:
        """A parameter, a buffer, or a constant that stood in the code."""
        value = self.network.constants[target] if target in self.network.constants else super().fetch_attr(target)
        return value.to(self.device) if isinstance(value, Tensor) else value

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a module; one that works in place gets copies, as its inputs are remembered."""
        if any(getattr(module, "inplace", False) for module in self.submodules[str(target)].modules()):
            args = _copied(args)
        return super().call_module(target, args, kwargs)

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation on what ``env`` has; a box gets copies, as it may change its inputs."""
        if n in self.network.boxes:
            remembered = {source: self.env[source] for source in n.all_input_nodes}
            self.env |= {source: _copied((value,))[0] for source, value in remembered.items()}
            result = super().run_node(n)
            self.env |= remembered
            return result
        return super().run_node(n)


def _last_read(nodes: list[fx.Node]) -> dict[fx.Node, list[fx.Node]]:
    """By node: the values that it is the last to read."""
    last = {source: node for node in nodes for source in node.all_input_nodes}
    return {node: [source for source, end in last.items() if end is node] for node in last.values()}


def _copied(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.clone() if isinstance(value, Tensor) else value for value in values)
