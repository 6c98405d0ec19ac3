"""From a mask to a physically smaller network that computes the same as the silenced one."""

from collections.abc import Mapping

import numpy as np
from torch import fx, nn

from qprune_cli.graph.masks import at_gates, check_layout
from qprune_cli.graph.network import Liveness, Network, Operation
from qprune_cli.graph.rules.join import is_sum
from qprune_cli.graph.rules.layer import Layer
from qprune_cli.graph.rules.writer import Writer
from qprune_cli.surgery.arrange import arranged
from qprune_cli.surgery.reuse import reuse_
from qprune_cli.types import Bools, Layout


def shrink(model: nn.Module, layout: Layout, keep: Bools | Mapping[str, Bools]) -> nn.Module:
    """Build the smaller network that equals the silenced one.

    Dropped filters leave their layers, and so does everything that only served them. Where branches with different channels
    meet, each is scattered into those that either has, so any mask is realised exactly. A layer never gets empty: where no
    channel is left, one stays that is multiplied by 0.

    Args:
        model: the network that the layout was traced from; it is left as it is.
        layout: its filters.
        keep: (n,) mask, or one (filters,) mask per layer name; layers that are not named keep all.

    Returns:
        A network with the parameter names of the old one, on the same device, in the same mode. What its code asks of the mode by
        itself, as in ``F.dropout(x, training=self.training)``, is as in evaluation; ``nn.Dropout`` follows the mode.

    Raises:
        UserError: ``keep`` does not fit the layout.
        StructureError: the network cannot be followed, or the layout is of another one.

    Example:
        >>> import numpy as np
        >>> from qprune_cli.graph.trace import trace
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1))
        >>> small = shrink(model, trace(model), np.array([True, False, True, False]))
        >>> {name: tuple(tensor.shape) for name, tensor in small.state_dict().items()}
        {'0.weight': (2, 1, 1, 1), '0.bias': (2,), '2.weight': (1, 2, 1, 1), '2.bias': (1,)}
    """
    check_layout(model, layout)
    network, kept = Network(model, layout.shape, layout.wrap), at_gates(layout, keep)
    if found := arranged(network, kept):
        network, kept = Network(found[0], layout.shape, layout.wrap), found[1]
    small, _ = written(network, network.liveness(kept))
    reuse_(small)
    return small


def written(network: Network, liveness: Mapping[fx.Node, Liveness]) -> tuple[fx.GraphModule, dict[fx.Node, fx.Node]]:
    """Write what masks leave of a network as a network of its own, and say where each operation is in it; none works in place."""
    writer = Writer(network.graph, network.constants)
    for node in liveness:
        operation = network.operations[node]
        operands = [_operand(network, writer, liveness, operation, place) for place in range(len(operation.sources))]
        writer.written[node] = operation.rule.emit(writer, node, operands, liveness[node].cut)
    return writer.finish(), {node: writer.written[node] for node in liveness}


def _operand(network: Network, writer: Writer, liveness: Mapping[fx.Node, Liveness], operation: Operation, place: int) -> fx.Node | None:
    """An operand with the channels that the operation takes of it; None where it takes none."""
    source, wanted = operation.sources[place], liveness[operation.node].cut.in_channels[place]
    if wanted is None:
        return None
    own = liveness[source]
    # A layer multiplies channels that are 0 by 0, nobody reads an operation that is not exact, and a sum that is read holds zeros.
    as_is = (
        isinstance(operation.rule, Layer) or not liveness[operation.node].exact or (is_sum(network.operations[source].rule) and own.exact)
    )
    dead = np.zeros_like(own.dead) if as_is else own.dead
    value: fx.Node = writer.written[source]
    return writer.align(value, own.cut.out_channels, dead, wanted, network.operations[source].axis)


def idle_filters(small: nn.Module, layout: Layout, keep: Bools) -> int:
    """Kept filters that are gone from the smaller network as well, because nothing reads them any more."""
    modules = dict(small.named_modules())
    return sum(int(mask.sum()) - _width(modules.get(name)) for name, mask in layout.masks(keep).items() if mask.any())


def _width(layer: nn.Module | None) -> int:
    """Filters of a layer."""
    return 0 if layer is None else int(getattr(layer, "out_channels", getattr(layer, "out_features", 0)))
