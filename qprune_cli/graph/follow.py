"""Following a network's forward pass with torch.fx, or saying at which line of the user's code that ends."""

import inspect
import linecache
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, fx, nn

from qprune_cli.errors import StructureError, UserError, nearest
from qprune_cli.graph.inplace import OPERATORS
from qprune_cli.graph.modules import Onto, Scatter, Select

TORCH = str(Path(torch.__file__).parent)
HERE = str(Path(__file__).parent)


@dataclass(frozen=True)
class Followed:
    """What torch.fx saw.

    Attributes:
        graph: the operations.
        constants: tensors that stood in the code, by the name that the graph has for them.
        wrapped: names of modules and functions that are black boxes.
        calls: how often each module is called.
    """

    graph: fx.Graph
    constants: dict[str, Tensor]
    wrapped: frozenset[str]
    calls: Counter[str]


def follow(model: nn.Module, wrap: Sequence[str]) -> Followed:
    """Record the operations of a network.

    Args:
        model: the network, in evaluation mode.
        wrap: black boxes: qualified names or class names of modules, or functions as ``module:function``.

    Raises:
        StructureError: torch.fx cannot follow the network, it has hooks, or takes more than one input.
        UserError: no such black box.
    """
    name = type(model).__name__
    if model._forward_hooks or model._forward_pre_hooks:
        raise StructureError(f"{name}: a hook changes what it does; remove it first")
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise StructureError(f"{name}: wraps a network; give that one, model.module")
    if "_orig_mod" in dict(model.named_children()):
        raise StructureError(f"{name}: a compiled network; give the one before torch.compile, model._orig_mod")
    tracer = _Tracer([entry for entry in wrap if ":" not in entry], [_function(entry) for entry in wrap if ":" in entry])
    before = set(vars(model))
    try:
        graph = tracer.trace(model, _defaults(model))
    except Exception as error:  # fx raises many kinds; all mean that the forward pass cannot be followed
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise StructureError(
            f"{name}: torch.fx cannot follow its forward pass{_line_of(error)} ({said}); {_way_out(_module_of(error, model))}"
        ) from error
    finally:
        constants = {key: vars(model).pop(key) for key in set(vars(model)) - before}
    for entry in [entry for entry in wrap if ":" not in entry and entry not in tracer.found]:
        names = {part for qualified, module in model.named_modules() if qualified for part in (qualified, type(module).__name__)}
        if entry in names:
            raise UserError(f"model.wrap: '{entry}' is never called as a whole; name its parts")
        raise UserError(f"model.wrap: no module or class of this network is called '{entry}'; {nearest(entry, names)}")
    _drop_defaults(graph)
    more = [str(node.target) for node in graph.nodes if node.op == "placeholder"][1:]
    if more:
        raise StructureError(
            f"{name}: takes more than one input ({', '.join(more)}); give the others a default value, or wrap the "
            "network in one that takes the image alone"
        )
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    return Followed(graph, constants, frozenset(tracer.wrapped | {str(f.__name__) for f in tracer.functions}), calls)


class _Proxy(fx.Proxy):
    """Records ``x += y`` as what it is; fx alone would take it for ``x + y``."""

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError("a part of a tensor is assigned to; write torch.cat or torch.where instead")


def _changing(function: Callable[..., Any]) -> Callable[[fx.Proxy, Any], fx.Proxy]:
    return lambda self, other: self.tracer.create_proxy("call_function", function, (self, other), {})


for _operator in OPERATORS:
    setattr(_Proxy, f"__{_operator.__name__}__", _changing(_operator))


class _Tracer(fx.Tracer):
    """Follows a network into its own modules, but not into torch's or into black boxes."""

    def __init__(self, wrap: list[str], functions: list[Callable[..., Any]]) -> None:
        super().__init__(autowrap_functions=tuple(functions))
        self.names, self.functions = set(wrap), functions
        self.found: set[str] = set()
        self.wrapped: set[str] = set()

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """What stands for the result of an operation meanwhile."""
        return _Proxy(node, self)

    def create_node(self, *arguments: Any, **keywords: Any) -> fx.Node:
        """Note an operation, and the line of the user's code that it comes from."""
        node = super().create_node(*arguments, **keywords)
        frame: FrameType | None = sys._getframe(1)
        while frame and frame.f_code.co_filename.startswith((TORCH, HERE, "<")):
            frame = frame.f_back
        if frame:
            node.meta["place"] = frame.f_code.co_filename, frame.f_lineno
        return node

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one operation."""
        matches = self.names & {module_qualified_name, type(m).__name__}
        self.found |= matches
        if matches:
            self.wrapped.add(module_qualified_name)
        return bool(matches) or isinstance(m, Select | Scatter | Onto) or super().is_leaf_module(m, module_qualified_name)


def place(node: fx.Node) -> str:
    """Where in the user's code a node comes from, as ``, net.py:12 `x = f(x)` ``; empty where nobody knows."""
    if "place" not in node.meta:
        return ""
    path, line = node.meta["place"]
    code = linecache.getline(path, line).strip()
    return f", {Path(path).name}:{line} `{code}`" if code else f", {Path(path).name}:{line}"


def way_out(node: fx.Node) -> str:
    """What to do about an operation that cannot be followed."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    inside = [name for name, _ in stack if name] if node.op != "call_module" else [name for name, _ in stack[:-1] if name]
    return _way_out(inside[-1] if inside else "")


def _way_out(module: str) -> str:
    if module:
        return f"keep the module around it whole with model.wrap=[{module}], or write it otherwise"
    return "move it into a module or function of its own and name that in model.wrap=[...], which keeps it whole, or write it otherwise"


def _module_of(error: Exception, model: nn.Module) -> str:
    """Qualified name of the innermost module of the user's in which an error arose."""
    names = {id(module): name for name, module in model.named_modules()}
    found, frame = "", error.__traceback__
    while frame:
        if frame.tb_frame.f_code.co_name == "forward":
            found = names.get(id(frame.tb_frame.f_locals.get("self")), found)
        frame = frame.tb_next
    return found


def _line_of(error: Exception) -> str:
    """The last line of the user's code in a traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith((TORCH, HERE, "<"))]
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno} `{frames[-1].line}`" if frames else ""


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    try:
        found: Callable[..., Any] = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UserError(f"model.wrap: '{name}' cannot be imported ({error}); write package.module:function") from error
    return found


def _defaults(model: nn.Module) -> dict[str, Any]:
    """The default values of all arguments of the forward pass but the first."""
    arguments = list(inspect.signature(model.forward).parameters.values())[1:]
    return {a.name: a.default for a in arguments if a.default is not a.empty}


def _is_check(node: fx.Node) -> bool:
    """Whether fx put a node there to see that an argument has its default value."""
    return not node.users or all(user.target is torch._assert for user in node.users)


def _drop_defaults(graph: fx.Graph) -> None:
    """Take out arguments that have their default value, and fx's checks of them."""
    for node in [node for node in graph.nodes if node.op == "placeholder"][1:]:
        if not all(_is_check(user) for user in node.users):
            continue
        for user in list(node.users):
            for check in [*user.users]:
                graph.erase_node(check)
            graph.erase_node(user)
        graph.erase_node(node)
