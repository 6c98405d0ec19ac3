"""Filters that must stay: the network's output, what a norm over channels reads, and layers that the user names."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatch

from torch import fx

from qprune_cli.errors import UserError, nearest
from qprune_cli.graph.graph import operation_name
from qprune_cli.graph.network import Network, Operation
from qprune_cli.graph.rules.join import Join
from qprune_cli.graph.rules.rule import Whole

OUTPUT = "it is the network's output"


def fixed_layers(network: Network, keep_layers: Sequence[str] = ()) -> dict[Operation, str]:
    """Find the layers whose filters must all stay, and why.

    A norm over channels, and a black box, need all channels of what they read. Where that is a sum, one of the branches has to
    be whole, not both: the one that is already, or else the one that begins earlier.

    Args:
        network: the network.
        keep_layers: qualified names of layers, or patterns such as ``encoder.*``.

    Returns:
        The reason by layer, to be read behind "stays because".

    Raises:
        UserError: a name matches no layer.
    """
    fixed: dict[Operation, str] = {}
    names = [operation.name for operation in network.layers]
    for pattern in keep_layers:
        matching = [
            operation for operation in network.layers if fnmatch(operation.name, pattern) or operation.name.startswith(f"{pattern}.")
        ]
        if not matching:
            raise UserError(f"model.keep_layers: no layer of this network matches '{pattern}'; {nearest(pattern, names)}")
        fixed |= dict.fromkeys(matching, "model.keep_layers names it")
    for operation in network.operations.values():
        if operation.node.op == "output":
            fixed |= {layer: OUTPUT for layer in layers_behind(network, operation) if layer not in fixed}
        elif isinstance(operation.rule, Whole):
            name = operation_name(operation.node, network.graph.modules)
            why = f"it feeds {name} at '{operation.name or operation.node.name}', which needs all of its channels"
            for source in network.sources(operation):
                _need_whole(network, source, why, fixed)
    return fixed


def layers_behind(network: Network, operation: Operation) -> list[Operation]:
    """The nearest layers that feed an operation; behind something that needs all channels there is none."""
    found, seen, waiting = [], set(), list(network.sources(operation))
    while waiting:
        source = waiting.pop()
        if source.node in seen:
            continue
        seen.add(source.node)
        if source.is_layer:
            found.append(source)
        elif not isinstance(source.rule, Whole):
            waiting += network.sources(source)
    return found


def whole_values(network: Network, fixed: Iterable[Operation]) -> set[fx.Node]:
    """The values that keep all of their channels under every mask."""
    kept, whole = {operation.node for operation in fixed}, set()
    for node, operation in network.operations.items():
        if operation.is_layer:
            sure = node in kept
        else:
            sources = [source in whole for source in operation.sources]
            sure = isinstance(operation.rule, Whole) or (any(sources) if _is_sum(operation) else all(sources))
        if sure:
            whole.add(node)
    return whole


def _need_whole(network: Network, operation: Operation, why: str, fixed: dict[Operation, str]) -> None:
    """Fix layers until a value keeps all of its channels under every mask."""
    order = {node: k for k, node in enumerate(network.operations)}
    waiting, seen = [operation], set()
    whole = whole_values(network, fixed)
    while waiting:
        value = waiting.pop()
        if value.node in whole or value.node in seen:
            continue
        seen.add(value.node)
        sources = network.sources(value)
        if value.is_layer:
            fixed[value] = why
        elif _is_sum(value):
            waiting.append(min(sources, key=lambda source: min(order[layer.node] for layer in _begin(network, source))))
        else:
            waiting += sources


def _is_sum(operation: Operation) -> bool:
    return (
        isinstance(operation.rule, Join)
        and operation.rule.function.__name__ in ("add", "sub")
        and all(s.full for s in operation.rule.values)
    )


def _begin(network: Network, operation: Operation) -> list[Operation]:
    return [operation] if operation.is_layer else layers_behind(network, operation) or [operation]
