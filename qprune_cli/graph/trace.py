"""From a network to its layout: which filters can go, where their mask acts, and who reads them."""

from collections.abc import Sequence

from torch import Tensor, nn

from qprune_cli.errors import StructureError, UserError, nearest
from qprune_cli.graph.couple import coupled_groups
from qprune_cli.graph.fixed import fixed_layers
from qprune_cli.graph.neighbours import consumers, gate
from qprune_cli.graph.network import Network, Operation
from qprune_cli.graph.rules.layer import LAYERS
from qprune_cli.graph.rules.rule import Whole
from qprune_cli.types import FilterGroup, Fixed, Layout

GRANULARITIES = ("filter", "group")
SIDE = 64  # of the image that a network is traced with where nobody gives one


def check_granularity(granularity: str) -> None:
    """Refuse a granularity that does not exist.

    Raises:
        UserError: no such granularity.
    """
    if granularity not in GRANULARITIES:
        raise UserError(f"granularity={granularity}: no such granularity; {nearest(granularity, GRANULARITIES)}")


def trace(
    model: nn.Module,
    example: Tensor | None = None,
    granularity: str = "filter",
    keep_layers: Sequence[str] = (),
    wrap: Sequence[str] = (),
) -> Layout:
    """Find the prunable filters of a network.

    Every output channel of a 2-D convolution, a transposed one or a linear layer is a filter, depthwise ones included, except
    those that must stay (``Layout.fixed`` says which and why): they are the network's output, a norm over channels or a black
    box needs all of them, their layer is used several times, or ``keep_layers`` names it. The mask acts behind the norm and
    the activation that follow the layer, as far as nothing else reads what lies between.

    Args:
        model: a network that torch.fx can follow.
        example: an input that the network takes, such as (N, C, H, W); only its shape is looked at. None takes an image of
            64 x 64 with the channels of the first convolution, or the features of the first linear layer.
        granularity: "filter" makes every filter a variable of its own; "group" lets those live or die together that meet in a
            sum, a product or a depthwise convolution, so that the smaller network needs no scatter (but where a norm follows a
            sum, as in pre-activation blocks: it shifts channels that are 0).
        keep_layers: qualified names of layers whose filters stay, or patterns such as ``encoder.*``.
        wrap: black boxes that are kept whole: qualified names or class names of modules, or functions as ``module:function``.

    Returns:
        The layout, in network order.

    Raises:
        StructureError: the network cannot be followed, holds an operation without a rule (named), or has nothing to prune.
        UserError: a name in ``keep_layers`` or ``wrap`` is not in the network, or the granularity is unknown.

    Example:
        >>> layout = trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)))
        >>> [(group.layer, group.gate, group.channels, group.consumers) for group in layout.groups]
        [('0', '1', 4, ('2',))]
        >>> layout.fixed
        (Fixed(layer='2', filters=3, why="it is the network's output"),)
    """
    check_granularity(granularity)
    shape = _default_shape(model) if example is None else tuple(example.shape)
    network = Network(model, shape, wrap)
    fixed = fixed_layers(network, keep_layers)
    gates = {operation: gate(network, operation) for operation in network.layers}
    if granularity == "group":
        groups, reasons = coupled_groups(network, gates, fixed)
    else:
        groups = tuple(_alone(network, operation, gates[operation]) for operation in network.layers if operation not in fixed)
        reasons = [Fixed(operation.name, _filters(operation), why) for operation, why in fixed.items()]
    reasons += {
        operation.name: Fixed(operation.name, _filters(operation), _black_box(network, operation)) for operation in _kept_whole(network)
    }.values()
    if not groups:
        raise StructureError(f"{type(model).__name__}: no layer whose filters could go; {_why_none(reasons)}")
    order = {operation.name: k for k, operation in enumerate(network.operations.values())}
    return Layout(groups, tuple(sorted(reasons, key=lambda reason: order[reason.layer])), shape, tuple(wrap))


def _alone(network: Network, operation: Operation, at: Operation) -> FilterGroup:
    return FilterGroup(operation.name, at.name, _filters(operation), (), *consumers(network, operation))


def _filters(operation: Operation) -> int:
    return operation.rule.channels


def _kept_whole(network: Network) -> list[Operation]:
    """Layers that are treated as black boxes."""
    return [
        operation
        for operation in network.operations.values()
        if isinstance(operation.rule, Whole) and isinstance(_module(network, operation), LAYERS)
    ]


def _module(network: Network, operation: Operation) -> nn.Module | None:
    return network.graph.modules.get(operation.name) if operation.name else None


def _black_box(network: Network, operation: Operation) -> str:
    if operation.name in network.shared:
        return "it is used several times, or shares its weights"
    return "model.wrap names it" if operation.name in network.graph.wrapped else "its filters lie along the last of several dimensions"


def _why_none(reasons: Sequence[Fixed]) -> str:
    return "; ".join(f"'{reason.layer}' stays because {reason.why}" for reason in reasons[:3]) or "it holds no convolution or linear layer"


def _default_shape(model: nn.Module) -> tuple[int, ...]:
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            return (1, module.in_channels, SIDE, SIDE)
        if isinstance(module, nn.Linear):
            return (1, module.in_features)
    raise StructureError(f"{type(model).__name__}: holds no convolution or linear layer")
