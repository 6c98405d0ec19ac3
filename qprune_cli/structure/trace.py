"""From a network to its layout: which filters can go, and where their mask acts."""

from torch import Tensor, fx, nn

from qprune_cli.errors import StructureError
from qprune_cli.structure.graph import ACTIVATIONS, Channels, behind
from qprune_cli.types import FilterGroup, Layout


def trace(model: nn.Module, example: Tensor | None = None) -> Layout:
    """Find the prunable filters of a network.

    Every output channel of a 2-D convolution is a filter of its own, depthwise ones included, except those of layers
    whose channels are the channels of the network's output. The mask acts behind the activation that follows the
    layer, where there is one that no other layer shares.

    Args:
        model: a network that torch.fx can follow.
        example: (N, C, H, W) image that the network takes; only its channels are looked at. None takes those of the first
            convolution.

    Returns:
        The layout, in network order.

    Raises:
        StructureError: the network cannot be followed, holds an operation without a rule (named), uses a convolution twice,
            or has nothing to prune.

    Example:
        >>> layout = trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)))
        >>> layout.groups
        (FilterGroup(layer='0', gate='1', channels=4),)
    """
    channels = Channels(model)
    for node in channels.convolutions:
        if (uses := channels.uses(str(node.target))) > 1:
            raise StructureError(f"layer '{node.target}' is used {uses} times in one forward pass; give each use a layer of its own")
    first = channels.conv(channels.convolutions[0]) if channels.convolutions else None
    if first is None:
        raise StructureError(f"{type(model).__name__}: holds no 2-D convolution")
    channels.alive({}, first.in_channels if example is None else example.shape[1])
    output = next(node for node in channels.graph.nodes if node.op == "output")
    fixed = set(behind(output, lambda node: channels.conv(node) is not None))
    free = [node for node in channels.convolutions if node not in fixed]
    if not free:
        raise StructureError(f"{type(model).__name__}: no 2-D convolution whose filters could go")
    return Layout(tuple(_group(channels, node) for node in free))


def _group(channels: Channels, node: fx.Node) -> FilterGroup:
    conv = channels.conv(node)
    assert conv is not None
    users = list(node.users)
    alone = len(users) == 1 and channels.uses(str(users[0].target)) == 1
    gate = users[0] if alone and isinstance(channels.module(users[0]), ACTIVATIONS) else node
    return FilterGroup(str(node.target), str(gate.target), conv.out_channels)
