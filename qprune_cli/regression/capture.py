"""The value that goes into a module of a network, or comes out of it; what lies behind it is not computed."""

import torch
from torch import Tensor, nn


class _ReachedError(Exception):
    """Ends the forward pass and carries the value out of it."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value


@torch.no_grad()
def input_of(model: nn.Module, name: str, x: Tensor) -> Tensor:
    """What (N, ...) a module reads when the network gets ``x`` (N, ...); the module is called once in every pass."""

    def stop(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        raise _ReachedError(inputs[0])

    return _reached(model, model.get_submodule(name).register_forward_pre_hook(stop), x)


@torch.no_grad()
def output_of(model: nn.Module, name: str, x: Tensor) -> Tensor:
    """What (N, ...) a module gives when the network gets ``x`` (N, ...)."""

    def stop(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        raise _ReachedError(output)

    return _reached(model, model.get_submodule(name).register_forward_hook(stop), x)


def _reached(model: nn.Module, handle: torch.utils.hooks.RemovableHandle, x: Tensor) -> Tensor:
    """Run the network until the hook ends the pass, and remove the hook."""
    try:
        model(x)
    except _ReachedError as reached:
        return reached.value
    finally:
        handle.remove()
    raise AssertionError("the module takes part in the forward pass")
