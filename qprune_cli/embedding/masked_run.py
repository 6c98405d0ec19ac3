"""A network run operation by operation at a mask, with single operations run again on other operands."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from qprune_cli.errors import UserError
from qprune_cli.graph.execute import Recorder, evaluating
from qprune_cli.graph.masks import at_gates
from qprune_cli.graph.network import Network
from qprune_cli.types import Bools, FilterGroup, Layout


class MaskedRun(Recorder):
    """Runs a network at a mask and remembers every result.

    Args:
        network: its operations.
        layout: its filters.
        keep: (n,) mask; None keeps all.

    Attributes:
        results: what each operation gave; of a gate, what passes the mask.
        unmasked: what came to each gate whose mask drops something.
    """

    def __init__(self, network: Network, layout: Layout, keep: Bools | None) -> None:
        super().__init__(network.model, network.graph.graph, network.graph.constants)
        self.network = network
        self.masks = {} if keep is None else at_gates(layout, keep)
        self.unmasked: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation, and the mask where it is a gate."""
        result = super().run_node(n)
        mask = self.masks.get(str(n.target)) if n.op == "call_module" else None
        if mask is not None:
            self.unmasked[n] = result
            factor = torch.from_numpy(np.asarray(mask)).to(result).reshape(1, -1, *[1] * (result.dim() - 2))
            self.results[n] = result * factor
        return self.results[n]

    def over(self, x: Tensor) -> "MaskedRun":
        """Run all operations on (N, ...) inputs, without gradients."""
        with evaluating(self.network.model):
            return self.record(x)

    def gate_value(self, name: str) -> tuple[fx.Node, Tensor]:
        """The operation that is a gate, by its name, and what (N, width, ...) it gives before the mask."""
        node = next(operation.node for operation in self.network.operations.values() if operation.name == name)
        return node, self.unmasked.get(node, self.results[node])

    def group_values(self, group: FilterGroup) -> list[Tensor]:
        """(N, channels, ...) for each member of a group: what its filters give, before the mask."""
        return [self.gate_value(member.gate)[1][:, list(member.filters)] for member in group.members]

    @property
    def network_output(self) -> Tensor:
        """(N, ...) what the network gives at the mask."""
        last = next(reversed(self.network.operations.values()))
        output: Tensor = self.results[last.sources[0]]
        return output

    def refuse_damaged(self, layout: Layout) -> None:
        """Refuse a network that gives values that are not finite.

        Raises:
            UserError: it names the first such layer.
        """
        for group in layout.groups:
            if not all(bool(torch.isfinite(value).all()) for value in self.group_values(group)):
                raise UserError(f"layer '{group.layer}': not finite on the calibration images; look for damaged images or weights")

    def dead(self, layout: Layout) -> Bools:
        """(n,) True where a variable is 0 on all samples."""
        largest = [[value.abs().transpose(0, 1).flatten(1).amax(dim=1) for value in self.group_values(group)] for group in layout.groups]
        return np.concatenate([(torch.stack(members).amax(dim=0) == 0).cpu().numpy() for members in largest])

    @torch.no_grad()
    def rerun(self, node: fx.Node, operands: Mapping[fx.Node, Any]) -> Any:
        """Run one operation on other operands; those that are not given stay as they were. Nothing is remembered."""
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda source: _copied(operands.get(source, self.results[source])))
        with evaluating(self.network.model):
            return getattr(self, node.op)(node.target, args, kwargs)


def _copied(value: Any) -> Any:
    """A copy of a tensor, in case the operation works in place."""
    return value.clone() if isinstance(value, Tensor) else value
