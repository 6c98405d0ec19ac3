"""Filters that must stay: the network's output, what a norm over channels reads, and layers that the user names."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatch

from torch import fx

from qprune_cli.errors import UserError, nearest
from qprune_cli.graph.graph import operation
from qprune_cli.graph.network import Network, Step
from qprune_cli.graph.rules.join import Join
from qprune_cli.graph.rules.rule import Whole

OUTPUT = "it is the network's output"


def fixed_layers(network: Network, keep_layers: Sequence[str] = ()) -> dict[Step, str]:
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
    fixed: dict[Step, str] = {}
    names = [step.name for step in network.layers]
    for pattern in keep_layers:
        matching = [step for step in network.layers if fnmatch(step.name, pattern) or step.name.startswith(f"{pattern}.")]
        if not matching:
            raise UserError(f"model.keep_layers: no layer of this network matches '{pattern}'; {nearest(pattern, names)}")
        fixed |= dict.fromkeys(matching, "model.keep_layers names it")
    for step in network.steps.values():
        if step.node.op == "output":
            fixed |= {layer: OUTPUT for layer in layers_behind(network, step) if layer not in fixed}
        elif isinstance(step.rule, Whole):
            name = operation(step.node, network.graph.modules)
            why = f"it feeds {name} at '{step.name or step.node.name}', which needs all of its channels"
            for source in network.sources(step):
                _need_whole(network, source, why, fixed)
    return fixed


def layers_behind(network: Network, step: Step) -> list[Step]:
    """The nearest layers that feed a step; behind something that needs all channels there is none."""
    found, seen, waiting = [], set(), list(network.sources(step))
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


def whole_values(network: Network, fixed: Iterable[Step]) -> set[fx.Node]:
    """The values that keep all of their channels under every mask."""
    kept, whole = {step.node for step in fixed}, set()
    for node, step in network.steps.items():
        if step.is_layer:
            sure = node in kept
        else:
            sources = [source in whole for source in step.sources]
            sure = isinstance(step.rule, Whole) or (any(sources) if _is_sum(step) else all(sources))
        if sure:
            whole.add(node)
    return whole


def _need_whole(network: Network, step: Step, why: str, fixed: dict[Step, str]) -> None:
    """Fix layers until a value keeps all of its channels under every mask."""
    order = {node: k for k, node in enumerate(network.steps)}
    waiting, seen = [step], set()
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


def _is_sum(step: Step) -> bool:
    return isinstance(step.rule, Join) and step.rule.function.__name__ in ("add", "sub") and all(s.full for s in step.rule.values)


def _begin(network: Network, step: Step) -> list[Step]:
    return [step] if step.is_layer else layers_behind(network, step) or [step]
