"""Fewer copies: a network computes in place where nobody sees the difference.

Fresh memory is what an element-wise operation on a CPU costs most. An operation may write over its operand if that was made for it
alone, and if no gradient needs the old values: then outputs and gradients stay the same, bit for bit.
"""

import operator
from collections.abc import Mapping

import torch
from torch import fx, nn
from torch.nn import functional as F

from qprune_cli.graph.modules import MOST_RUNS, Onto, Scatter, Select
from qprune_cli.graph.rules.layer import LAYERS
from qprune_cli.graph.rules.writer import FULL

# What makes a result of its own and does not look at it again for its gradient.
MAKERS = (*LAYERS, nn.BatchNorm2d, nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d, Onto, Scatter, Select)
MAKER_FUNCTIONS = (F.interpolate, F.upsample, operator.add, operator.sub, operator.iadd, torch.cat)
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardtanh)
FUNCTIONS = {F.relu: torch.relu_, torch.relu: torch.relu_}


def reuse_(network: fx.GraphModule) -> None:
    """Let activations and additions write over operands that nothing else reads.

    Args:
        network: a graph in which nothing works in place; sums say in their meta where both operands have the shape of the result.
    """
    modules = dict(network.named_modules())
    calls = [str(node.target) for node in network.graph.nodes if node.op == "call_module"]
    for node in network.graph.nodes:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if type(module) in ACTIVATIONS and calls.count(str(node.target)) == 1 and getattr(module, "negative_slope", 0) >= 0:
            module.inplace = _free(node.args[0], modules)  # type: ignore[union-attr]
        elif node.target in FUNCTIONS and node.args == (*node.all_input_nodes,) and _free(node.args[0], modules):
            node.target, node.kwargs = FUNCTIONS[node.target], {}
        elif node.op == "call_method" and node.target == "relu" and _free(node.args[0], modules):
            node.target = "relu_"
        elif node.meta.get(FULL):
            _add_in_place_(network, node, modules)
    network.recompile()


def _add_in_place_(network: fx.GraphModule, node: fx.Node, modules: dict[str, nn.Module]) -> None:
    """Add the one operand onto the other one, where that is free; a scattered one without making the zeros around it."""
    first, second = node.args
    if not isinstance(first, fx.Node) or not isinstance(second, fx.Node) or first is second:
        return
    for total, value in ((first, second), (second, first)):
        module = modules.get(str(value.target)) if value.op == "call_module" else None
        few = isinstance(module, Scatter) and 0 < len(module.runs) <= MOST_RUNS and len(value.users) == 1
        if few and _free(total, modules):
            assert isinstance(module, Scatter)
            modules[str(value.target)] = onto = Onto(module.index.tolist(), module.axis)
            network.add_submodule(str(value.target), onto)
            node.op, node.target, node.args = "call_module", str(value.target), (total, value.args[0])
            network.graph.erase_node(value)
            return
    for total, value in ((first, second), (second, first)):
        if _free(total, modules):
            node.target, node.args = operator.iadd, (total, value)
            return


def _free(value: object, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a value was made for its only reader."""
    if not isinstance(value, fx.Node) or len(value.users) != 1:
        return False
    if value.op == "call_module":
        return isinstance(modules[str(value.target)], MAKERS)
    return value.op == "call_function" and value.target in MAKER_FUNCTIONS
