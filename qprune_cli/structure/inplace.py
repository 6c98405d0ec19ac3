"""From a graph that works in place to one that does not, and computes the same.

``x += y`` changes every value that shares memory with x. Later uses of x, and of anything that is the same as x, are led
to the result instead; where only a part of x is changed and x is used again, the network is refused.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from qprune_cli.errors import StructureError

PURE: dict[Callable[..., Any], Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    torch.relu_: torch.relu,
    F.relu_: F.relu,
    F.leaky_relu_: F.leaky_relu,
}


def pure_(
    graph: fx.Graph, modules: dict[str, nn.Module], run: Callable[[], dict[fx.Node, Any]], refusal: Callable[[fx.Node, str], StructureError]
) -> None:
    """Let no operation of a graph change its input; modules keep their setting ``inplace``, which then means nothing.

    Args:
        graph: changed in place.
        modules: what its nodes call.
        run: gives the result of every node.
        refusal: makes the error that names a node.

    Raises:
        StructureError: a part of a value is changed while the whole, or another part, is used again.
    """
    changing = [node for node in graph.nodes if _changes(node, modules)]
    if not changing:
        return
    results, order = run(), {node: k for k, node in enumerate(graph.nodes)}
    for node in changing:
        target = node.args[0]
        if node.target is operator.setitem or not isinstance(target, fx.Node):
            raise refusal(node, "it changes part of a value in place; write it without, with torch.cat for instance")
        for other in [n for n in order if order[n] < order[node] and _share(results[n], results[target])]:
            later = [user for user in other.users if order[user] > order[node]]
            if later and _geometry(results[other]) != _geometry(results[target]):
                raise refusal(node, f"it changes part of '{other.name}' in place, which is used again; write it without")
            for user in later:
                user.replace_input_with(other, node)
        _make_pure(node)


def _changes(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    if node.op == "call_method":
        return str(node.target).endswith("_") and not str(node.target).endswith("__")
    if node.op != "call_function":
        return False
    return node.target in PURE or node.target is operator.setitem or bool(node.kwargs.get("inplace", False))


def _share(first: Any, second: Any) -> bool:
    """Whether two results lie in the same memory."""
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        return False
    return bool(first.untyped_storage()._cdata == second.untyped_storage()._cdata)


def _geometry(value: Tensor) -> tuple[Any, ...]:
    return value.shape, value.stride(), value.storage_offset()


def _make_pure(node: fx.Node) -> None:
    if node.op == "call_method":
        node.target = str(node.target).removesuffix("_")
    elif node.op == "call_function":
        node.target = PURE.get(node.target, node.target)  # type: ignore[arg-type]
        if "inplace" in node.kwargs:
            node.update_kwarg("inplace", False)
