"""Running a network again after a change at its gates: only what depends on the change is computed anew."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from qprune_cli.structure.graph import Graph
from qprune_cli.structure.masks import at_gates
from qprune_cli.types import Bools, Layout

Values = dict[fx.Node, Any]


class Replay(fx.Interpreter):
    """Remembers every value of a masked network on a batch, and answers for other masks.

    Args:
        model: the network, in evaluation mode.
        layout: its filters.
        keep: (n,) mask at which values are remembered.
        x: (N, ...) images.

    Example:
        >>> from qprune_cli.structure.trace import trace
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False))
        >>> layout = trace(model)
        >>> replay = Replay(model, layout, torch.ones(2, dtype=torch.bool).numpy(), torch.ones(1, 1, 1, 1))
        >>> float(replay.flipped(0) + replay.flipped(1) - replay.answer)
        0.0
    """

    def __init__(self, model: nn.Module, layout: Layout, keep: Bools, x: Tensor) -> None:
        graph = Graph(model, layout.shape or x.shape, layout.wrap)
        super().__init__(model, garbage_collect_values=False, graph=graph.graph)
        self.extra_traceback = False
        self.layout, self.keep, self.device, self.constants = layout, keep, x.device, graph.constants
        self.nodes, self.boxes = graph.nodes, graph.changes.boxes
        self.gates = {str(node.target): node for node in self.nodes if node.op == "call_module"}
        self.args_iter = iter((x,))
        self.open: Values = {}  # outputs of gates, before the mask
        self.values: Values = {}
        self.values, self.open = self._run(self.nodes, at_gates(layout, keep), [])
        self.behind = [self._behind(k) for k in range(len(layout.groups))]

    @property
    def answer(self) -> Tensor:
        """What the network gives at the mask."""
        return self._result(self.values)

    def flipped(self, i: int) -> Tensor:
        """What it gives when filter i alone changes sides: a kept one goes, a dropped one comes back."""
        group = int(self.layout.layer_of[i])
        keep = self.keep.copy()
        keep[i] = not keep[i]
        gates = [self.gates[member.gate] for member in self.layout.groups[group].members if member.gate in self.gates]
        return self._result(self._run(self.behind[group], at_gates(self.layout, keep), gates)[0])

    def dead(self) -> Bools:
        """(n,) True where a filter is exactly 0 before its gate, on all images of the batch."""
        silent = {name: ~_live(self.open[node]) for name, node in self.gates.items() if node in self.open}
        parts = [
            np.all([silent[m.gate][list(m.filters)] for m in group.members if m.gate in silent] or [np.ones(group.channels, bool)], axis=0)
            for group in self.layout.groups
        ]
        return np.concatenate(parts)

    @torch.no_grad()
    def _run(
        self, nodes: Sequence[fx.Node], masks: dict[str, Bools], gates: Sequence[fx.Node]
    ) -> tuple[dict[fx.Node, Any], dict[Any, Tensor]]:
        """Compute nodes; gates that stand first among them are only masked anew."""
        self.env, opened, fresh = dict(self.values), {}, set(nodes)
        every = {member.gate for group in self.layout.groups for member in group.members}
        for node in nodes:
            name = str(node.target) if node.op == "call_module" else ""
            known = node in gates and not fresh & set(node.all_input_nodes)
            value = self.open[node] if known else self.run_node(node)
            if name in every:
                opened[node] = value
                value = _masked(value, masks[name]) if name in masks else value
            self.env[node] = value
        return self.env, opened

    def _behind(self, group: int) -> list[fx.Node]:
        """The gates of a group and all that depends on them, in order."""
        found: set[fx.Node] = {self.gates[member.gate] for member in self.layout.groups[group].members if member.gate in self.gates}
        for node in self.nodes:
            if found & set(node.all_input_nodes):
                found.add(node)
        return [node for node in self.nodes if node in found]

    def _result(self, values: Values) -> Tensor:
        result: Tensor = values[self.nodes[-1]]
        return result

    def fetch_attr(self, target: str) -> Any:
        """A parameter, a buffer, or a constant that stood in the code."""
        return self.constants[target].to(self.device) if target in self.constants else super().fetch_attr(target)

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a module; one that works in place gets copies, as its inputs are remembered."""
        if any(getattr(module, "inplace", False) for module in self.fetch_attr(target).modules()):
            args = _copied(args)
        return super().call_module(target, args, kwargs)

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation."""
        if n in self.boxes:
            remembered = {source: self.env[source] for source in n.all_input_nodes}
            self.env |= {source: _copied((value,))[0] for source, value in remembered.items()}
            result = super().run_node(n)
            self.env |= remembered
            return result
        return super().run_node(n)


def _live(value: Tensor) -> Bools:
    found: Bools = (value != 0).transpose(0, 1).flatten(1).any(dim=1).cpu().numpy()
    return found


def _masked(value: Tensor, mask: Bools) -> Tensor:
    return value.index_fill(1, torch.from_numpy(~mask).nonzero()[:, 0].to(value.device), 0.0)


def _copied(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.clone() if isinstance(value, Tensor) else value for value in values)
