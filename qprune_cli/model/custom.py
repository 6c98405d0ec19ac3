"""Any network: built by a function of the user's, filled from a checkpoint of the user's."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from qprune_cli.errors import UserError, nearest
from qprune_cli.places import absolute_path
from qprune_cli.types import TASKS
from qprune_cli.weights.checkpoint import check_channels
from qprune_cli.weights.foreign import read_state

PREDICTS = ("clean", "noise")


class NoiseSubtracted(nn.Module):
    """A network that predicts the noise, as one that gives the clean image."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W) noisy -> (N, C, H, W) clean."""
        noise: Tensor = self.network(image)
        return image - noise


@dataclass(frozen=True)
class Custom:
    """A network of one's own.

    Args:
        factory: what returns the network: ``package.module:function``, or ``path/file.py:function``; a class will do. Modules are
            searched in the working folder as well.
        checkpoint: a .pth file (a state dict, or a dict that holds one; read with ``weights_only=True``) or a .safetensors file;
            prefixes such as ``module.`` are taken off. None for fresh weights (to train).
        arguments: keyword arguments of the factory.
        predicts: "clean" image, or "noise" that is subtracted from the input.
        channels: 1 for grey, 3 for colour images.
        task: "denoise", or "classify": the network gives (N, classes) logits.
        keep_layers: layers whose filters all stay: qualified names, or patterns such as ``encoder.*``.
        wrap: black boxes that are kept whole (see ``trace``).

    Raises:
        UserError: a setting is out of range.

    Example:
        >>> Custom(factory="torch.nn:Conv2d", arguments={"in_channels": 1, "out_channels": 1, "kernel_size": 3}, channels=1).build()
        Conv2d(1, 1, kernel_size=(3, 3), stride=(1, 1))
    """

    factory: str
    checkpoint: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    predicts: str = "clean"
    channels: int = 3
    task: str = "denoise"
    keep_layers: tuple[str, ...] = ()
    wrap: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_channels(self.channels)
        if self.predicts not in PREDICTS:
            raise UserError(f"model.predicts={self.predicts}: say what the network gives; {nearest(self.predicts, PREDICTS)}")
        if self.task not in TASKS:
            raise UserError(f"model.task={self.task}: say what the network is for; {nearest(self.task, TASKS)}")
        if self.task == "classify" and self.predicts == "noise":
            raise UserError("model.predicts=noise: a network that names classes predicts no noise; leave it out")
        module, colon, name = self.factory.rpartition(":")
        if not (colon and module and name):
            raise UserError(f"model.factory={self.factory}: write package.module:function or file.py:function")
        if module.endswith(".py"):
            object.__setattr__(self, "factory", f"{absolute_path(module)}:{name}")
        if self.predicts == "noise":  # the network lies one level deeper then
            deeper = tuple(name if name.startswith("network.") else f"network.{name}" for name in self.keep_layers)
            object.__setattr__(self, "keep_layers", deeper)
        if self.checkpoint is not None:
            object.__setattr__(self, "checkpoint", absolute_path(self.checkpoint))

    @property
    def trained(self) -> bool:
        """Whether the settings name a checkpoint."""
        return self.checkpoint is not None

    def build(self) -> nn.Module:
        """Make the network with the weights that the factory gives it.

        Raises:
            UserError: the factory does not exist, raises, or returns no network.
        """
        factory = self._imported()
        try:
            network = factory(**self.arguments)
        except Exception as error:  # the user's own code may raise anything
            given = f" with {self.arguments}" if self.arguments else ""
            raise UserError(f"model.factory={self.factory}: it raised {type(error).__name__}: {_first_line(error)}{given}") from error
        if not isinstance(network, nn.Module):
            raise UserError(f"model.factory={self.factory}: it returned {type(network).__name__}; return a torch.nn.Module")
        return NoiseSubtracted(network) if self.predicts == "noise" else network

    def load(self) -> nn.Module:
        """Make the network with the weights of the checkpoint, ready to evaluate.

        Raises:
            UserError: no checkpoint named, missing, damaged, or it does not fit the network.
        """
        if self.checkpoint is None:
            raise UserError("model.checkpoint=null: give the weights of your network, a .pth or .safetensors file")
        network = self.build()
        inner = network.network if isinstance(network, NoiseSubtracted) else network
        inner.load_state_dict(read_state(self.checkpoint, inner), strict=False)  # read_state has checked every name
        return network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]

    def _imported(self) -> Callable[..., Any]:
        """The function or class that the setting names."""
        source, _, name = self.factory.rpartition(":")
        try:
            module = _from_file(Path(source)) if source.endswith(".py") else _from_name(source)
        except Exception as error:  # importing runs the user's code, which may raise anything
            reason = f"{type(error).__name__}: {_first_line(error)}"
            raise UserError(
                f"model.factory={self.factory}: '{source}' cannot be imported ({reason}); the code of a network of your own must be where "
                "it was (the model.pt2 of a run works without)"
            ) from error
        factory = getattr(module, name, None)
        if not callable(factory):
            names = [other for other, value in vars(module).items() if callable(value) and not other.startswith("_")]
            raise UserError(f"model.factory={self.factory}: '{source}' has no function '{name}'; {nearest(name, names)}")
        return cast("Callable[..., Any]", factory)


def _from_name(name: str) -> Any:
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    return importlib.import_module(name)


def _from_file(path: Path) -> Any:
    name = f"qprune_factory_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")
