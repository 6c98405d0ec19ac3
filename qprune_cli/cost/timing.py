"""How long the network that a mask leaves will take on this machine: a measured table for each layer, and what the rest costs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.utils.benchmark import Timer
from tqdm import tqdm

from qprune_cli.cost.latency import latencies
from qprune_cli.graph.execute import Recorder, evaluating, executed
from qprune_cli.graph.masks import at_gates
from qprune_cli.graph.network import Network, Operation
from qprune_cli.graph.rules.layer import Layer
from qprune_cli.surgery.shrink import shrink
from qprune_cli.types import Bools, Floats, Layout

SHARES = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)  # of the width, at which a layer is timed; between them time is interpolated
RUNS = 5


class Timing:
    """Predicts milliseconds for one image: layers from a table, all else in proportion to the channels that are left.

    Each layer is timed alone on a grid of widths. What the rest takes (activations, sums, copies) follows from two whole networks that
    are timed as well: the dense one, and one without half of its filters.

    Args:
        model: the network.
        layout: its filters.
        shape: (C, H, W) of the image.
        threads: threads to compute with; None for as many as PyTorch uses.

    Raises:
        StructureError: an operation has no rule.
    """

    def __init__(self, model: nn.Module, layout: Layout, shape: Sequence[int], threads: int | None = None) -> None:
        self.layout, self.shape = layout, tuple(shape)
        self.threads = threads or torch.get_num_threads()
        self.network = Network(model, layout.shape, layout.wrap)
        with evaluating(model):
            graph = self.network.graph
            self.results = executed(Recorder, model, graph.graph, graph.constants, (1, *shape)).results
        self.device = next(model.parameters()).device
        self.tables = self._measured_tables()
        self.fixed, self.slope = 0.0, 0.0
        half = np.random.default_rng(0).permutation(layout.n) % 2 == 0
        whole = np.ones(layout.n, bool)
        times = latencies({"dense": model, "half": shrink(model, layout, half)}, shape, threads=self.threads)
        rest = [times["dense"].median - self._layers(whole), times["half"].median - self._layers(half)]
        self.slope = max((rest[0] - rest[1]) / (1 - self._share(half)), 0.0)
        self.fixed = max(rest[0] - self.slope, 0.0)

    def milliseconds(self, keep: Bools) -> float:
        """Predicted time in ms of the network that an (n,) mask leaves, for one image."""
        return self.fixed + self.slope * self._share(keep) + self._layers(keep)

    def _share(self, keep: Bools) -> float:
        """Share of all values behind gates that an (n,) mask leaves, in [0, 1]."""
        share = np.array([part.mean() for part in self.layout.split(keep).values()])
        values = np.array([sum(self._values(member.gate) for member in group.members) for group in self.layout.groups])
        return float(share @ values / values.sum())

    def _values(self, gate: str) -> int:
        """How many values a gate gives for one image."""
        return next(int(self.results[node].numel()) for node, operation in self.network.operations.items() if operation.name == gate)

    def _layers(self, keep: Bools) -> float:
        """Milliseconds of all layers at an (n,) mask, by their tables."""
        total = 0.0
        for node, alive in self.network.liveness(at_gates(self.layout, keep)).items():
            if node in self.tables:
                (inputs,) = alive.cut.in_channels
                assert inputs is not None
                total += self.tables[node].at(int(inputs.sum()), int(alive.cut.out_channels.sum()))
        return total

    def _measured_tables(self) -> dict[fx.Node, "Table"]:
        """A table for each layer; equal layers share one."""
        distinct: dict[Any, Table] = {}
        tables: dict[fx.Node, Table] = {}
        for operation in tqdm(self.network.layers, desc="time layers", unit="layer", leave=False, disable=None):
            assert isinstance(operation.rule, Layer)
            key = (str(operation.rule.module), tuple(self.results[operation.sources[0]].shape))
            if key not in distinct:
                distinct[key] = self._table(operation, operation.rule)
            tables[operation.node] = distinct[key]
        return tables

    @torch.inference_mode()
    def _table(self, operation: Operation, rule: Layer) -> "Table":
        """Time a layer at several widths."""
        shape = tuple(self.results[operation.sources[0]].shape)
        if rule.groups > 1:  # inputs and filters go together, group by group
            reads, gives = rule.inputs // rule.groups, rule.channels // rule.groups
            groups = _widths(rule.groups)
            column = [self._time(rule.resized(g * reads, g * gives, g), (1, g * reads, *shape[2:])) for g in groups]
            return Table(np.array(groups, float) * reads, np.array([rule.channels], float), np.array(column)[:, None])
        inputs, filters = _widths(rule.inputs), _widths(rule.channels)
        times = [[self._time(rule.resized(i, o, 1), (1, i, *shape[2:])) for o in filters] for i in inputs]
        return Table(np.array(inputs, float), np.array(filters, float), np.array(times))

    def _time(self, layer: nn.Module, shape: tuple[int, ...]) -> float:
        """Milliseconds of a layer whose weights have no memory yet."""
        layer, image = layer.to_empty(device=self.device), torch.rand(*shape, device=self.device)
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
        if image.dim() == 4:
            layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            image = image.contiguous(memory_format=torch.channels_last)
        timer = Timer("layer(image)", globals={"layer": layer, "image": image}, num_threads=self.threads)
        timer.timeit(1)
        return 1e3 * min(timer.timeit(1).median for _ in range(RUNS))


def _widths(width: int) -> list[int]:
    """Where a layer is timed: shares of its width."""
    return sorted({max(1, round(share * width)) for share in SHARES})


class Table:
    """Milliseconds by numbers of inputs and filters, linear between those that were measured.

    Args:
        inputs: (a,) numbers of inputs, rising.
        filters: (c,) numbers of filters, rising.
        times: (a, c) milliseconds.

    Example:
        >>> float(Table(np.array([1.0, 3.0]), np.array([2.0, 4.0]), np.array([[1.0, 2.0], [3.0, 4.0]])).at(2, 3))
        2.5
    """

    def __init__(self, inputs: Floats, filters: Floats, times: Floats) -> None:
        self.inputs, self.filters, self.times = inputs, filters, times

    def at(self, inputs: int, filters: int) -> float:
        """Milliseconds at any width; beyond the measured ones, those of the nearest."""
        rows = np.array([np.interp(filters, self.filters, row) for row in self.times])
        return float(np.interp(inputs, self.inputs, rows))
