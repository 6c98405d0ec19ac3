"""From a graph that works in place to one that does not, and computes the same.

``x += y`` changes every value that shares memory with x. Later uses of x, and of anything that is the same as x, are led
to the result instead; where only a part of x is changed and x is used again, the network is refused. What changes its input
is seen by running the network, not by its name.
"""

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from qprune_cli.errors import StructureError

OPERATORS = {getattr(operator, f"i{name}"): getattr(operator, name) for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")}
WHY = "it changes its input in place; write it without"


@dataclass(frozen=True)
class Changes:
    """What worked in place.

    Attributes:
        leading: operations to which later uses of their input were led.
        boxes: black boxes that change their input inside.
    """

    leading: frozenset[fx.Node]
    boxes: frozenset[fx.Node]


def pure_(
    graph: fx.Graph,
    results: dict[fx.Node, Any],
    changed: dict[fx.Node, list[fx.Node]],
    is_box: Callable[[fx.Node], bool],
    refusal: Callable[[fx.Node, str], StructureError],
) -> Changes:
    """Let no operation of a graph change its input; modules keep their setting ``inplace``, which then means nothing.

    Args:
        graph: changed in place.
        results: of every node.
        changed: inputs that a node changes, by node.
        is_box: whether a node is a black box.
        refusal: makes the error that names a node.

    Raises:
        StructureError: a part of a value is changed while the whole, or another part, is used again; or there is no form of
            the operation that leaves its input alone.
    """
    order = {node: k for k, node in enumerate(graph.nodes)}
    leading, boxes = set(), set()
    for node, targets in changed.items():
        if len(targets) != 1 or node.op == "get_attr" or targets[0].op == "get_attr":
            raise refusal(node, WHY)
        for other in [n for n in order if order[n] < order[node] and _share(results[n], results[targets[0]])]:
            later = [user for user in other.users if order[user] > order[node]]
            if not later or _disjoint(other, targets[0]):
                continue
            if is_box(node) or not _same(results[other], results[targets[0]]):
                raise refusal(node, f"it changes '{other.name}' or a part of it in place, which is used again; write it without")
            leading.add(node)
            for user in later:
                user.replace_input_with(other, node)
        if is_box(node):
            boxes.add(node)
        elif targets != list(node.all_input_nodes)[:1] or not _make_pure(node):
            raise refusal(node, WHY)
    return Changes(frozenset(leading), frozenset(boxes))


def _tensors(result: Any) -> Iterable[Tensor]:
    pieces = result if isinstance(result, tuple | list) else (result,)
    return (piece for piece in pieces if isinstance(piece, Tensor))


def _share(first: Any, second: Any) -> bool:
    """Whether two results lie in the same memory."""
    places = [{tensor.untyped_storage()._cdata for tensor in _tensors(result)} for result in (first, second)]
    return bool(places[0] & places[1])


def _same(first: Any, second: Any) -> bool:
    """Whether two results in the same memory are the same numbers in the same order."""
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        return False
    return (first.shape, first.stride(), first.storage_offset()) == (second.shape, second.stride(), second.storage_offset())


def _disjoint(first: fx.Node, second: fx.Node) -> bool:
    """Whether two nodes are different pieces of the same ``chunk`` or ``split``."""
    if first.target is not operator.getitem or second.target is not operator.getitem or first.args[0] is not second.args[0]:
        return False
    return isinstance(first.args[1], int) and isinstance(second.args[1], int) and first.args[1] != second.args[1]


def _make_pure(node: fx.Node) -> bool:
    """Turn a node into its form that leaves the input alone; False where there is none."""
    if node.op == "call_module":
        return True  # its copy works out of place
    if node.op == "call_method":
        name = str(node.target).removesuffix("_")
        known = name != node.target and hasattr(Tensor, name)
        node.target = name
        return known
    if node.kwargs.get("inplace"):
        node.update_kwarg("inplace", False)
        return True
    pure = OPERATORS.get(node.target) or _without_underscore(node.target)
    node.target = pure or node.target
    return pure is not None


def _without_underscore(function: Any) -> Any:
    name = getattr(function, "__name__", "")
    homes = [home for home in (torch, F) if getattr(home, name, None) is function]
    return getattr(homes[0], name.removesuffix("_"), None) if homes and name.endswith("_") else None
