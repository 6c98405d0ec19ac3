"""What follows a layer: where its mask acts, and who reads its filters."""

from qprune_cli.graph.graph import operation_name
from qprune_cli.graph.network import Network, Operation
from qprune_cli.graph.rules.rule import Same, Whole
from qprune_cli.graph.rules.same import GATES


def gate(network: Network, layer: Operation) -> Operation:
    """The last norm or activation of the chain that follows a layer, or the layer itself: where its mask acts."""
    last = operation = layer
    while len(users := network.users(operation)) == 1 and len(operation.node.users) == 1:
        operation = users[0]
        if (
            not isinstance(operation.rule, Same)
            or operation.axis != 1
            or operation.name in network.shared
            or operation.node in network.graph.changes.leading
        ):
            break
        if operation.name and isinstance(network.graph.modules[operation.name], GATES):
            last = operation
    return last


def consumers(network: Network, operation: Operation) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who reads a value, and through which operations: layers, what needs all channels, and the output."""
    readers: dict[str, None] = {}
    through: dict[str, None] = {}
    waiting, seen = network.users(operation), set()
    while waiting:
        user = waiting.pop(0)
        if user.node in seen:
            continue
        seen.add(user.node)
        if user.is_layer or isinstance(user.rule, Whole):
            readers[user.name or user.node.name] = None
        else:
            through[operation_name(user.node, network.graph.modules)] = None
            waiting += network.users(user)
    return tuple(readers), tuple(through)
