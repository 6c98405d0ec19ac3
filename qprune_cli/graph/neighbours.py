"""What follows a layer: where its mask acts, and who reads its filters."""

from qprune_cli.graph.graph import operation
from qprune_cli.graph.network import Network, Step
from qprune_cli.graph.rules.rule import Same, Whole
from qprune_cli.graph.rules.same import GATES


def gate(network: Network, layer: Step) -> Step:
    """The last norm or activation of the chain that follows a layer, or the layer itself: where its mask acts."""
    last = step = layer
    while len(users := network.users(step)) == 1 and len(step.node.users) == 1:
        step = users[0]
        if not isinstance(step.rule, Same) or step.axis != 1 or step.name in network.shared or step.node in network.graph.changes.leading:
            break
        if step.name and isinstance(network.graph.modules[step.name], GATES):
            last = step
    return last


def consumers(network: Network, step: Step) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who reads a value, and through which operations: layers, what needs all channels, and the output."""
    readers: dict[str, None] = {}
    through: dict[str, None] = {}
    waiting, seen = network.users(step), set()
    while waiting:
        user = waiting.pop(0)
        if user.node in seen:
            continue
        seen.add(user.node)
        if user.is_layer or isinstance(user.rule, Whole):
            readers[user.name or user.node.name] = None
        else:
            through[operation(user.node, network.graph.modules)] = None
            waiting += network.users(user)
    return tuple(readers), tuple(through)
