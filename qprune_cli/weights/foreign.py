"""Checkpoints that other programs wrote: find the weights of a network in them, or say what does not fit."""

import re
import warnings
from collections.abc import Iterator, Mapping
from itertools import islice, zip_longest
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from qprune_cli.errors import UserError

SHOWN = 10  # names at most in one message


def read_state(checkpoint: str, model: nn.Module) -> dict[str, Tensor]:
    """Read the weights of a network from a file.

    A dict that holds several state dicts (such as ``params`` and ``params_ema``) gives the one that fits best, the averaged one
    where two fit equally well.

    Args:
        checkpoint: path of a .pth (or .pt, .ckpt) file, read with ``weights_only=True``, or of a .safetensors file.
        model: the network.

    Returns:
        A state dict for the network; counters of batches may be missing.

    Raises:
        UserError: the file is missing or damaged, holds more than weights, or does not fit; names that do not fit are listed.
    """
    path = Path(checkpoint)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise UserError(f"model.checkpoint={checkpoint}: {what}; give a .pth or .safetensors file")
    wanted = model.state_dict()
    best = max(_variants(_read(path)), key=lambda state: _fit(state, wanted), default=None)
    if best is None:
        raise UserError(f"model.checkpoint={checkpoint}: holds no weights; save model.state_dict()")
    problems = list(_problems(best, wanted))
    if problems:
        listed = "; ".join(islice(problems, SHOWN))
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise UserError(f"model.checkpoint={checkpoint}: does not fit the network: {listed}{more}; check model.factory and model.arguments")
    for name, tensor in best.items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"model.checkpoint={checkpoint}: '{name}' holds values that are not finite; take another checkpoint")
    return best


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
        what = f"holds {refused[1]} beside weights, which could run code when read" if refused else "holds more than weights, or is damaged"
        raise UserError(f"model.checkpoint={path}: {what}; save model.state_dict() where you trust it") from error
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        if "TorchScript" in str(error):
            raise UserError(f"model.checkpoint={path}: a TorchScript program; save torch.jit.load(path).state_dict()") from error
        reason = next(iter(str(error).splitlines()), "")
        raise UserError(f"model.checkpoint={path}: not a readable checkpoint ({type(error).__name__}: {reason})") from error


def _variants(value: Any, depth: int = 2) -> Iterator[dict[str, Tensor]]:
    """All that could be a state dict in what a file holds, with and without what all names begin with, such as ``module.``."""
    if not isinstance(value, Mapping):
        return
    tensors = {str(name): tensor for name, tensor in value.items() if isinstance(tensor, Tensor)}
    while tensors:
        yield tensors
        first = {name.split(".")[0] for name in tensors}
        if len(first) > 1 or any("." not in name for name in tensors):
            break
        tensors = {name.split(".", 1)[1]: tensor for name, tensor in tensors.items()}
    if depth:
        for name in sorted(map(str, value), key=lambda name: "ema" not in name.lower()):
            yield from _variants(value.get(name), depth - 1)


def _fit(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> int:
    """How many tensors of a state dict fit a network, minus those that it does not have."""
    return sum(name in state and state[name].shape == tensor.shape for name, tensor in wanted.items()) - len(state.keys() - wanted.keys())


def _problems(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterator[str]:
    """Names that do not fit, of every kind in turn."""
    shapes = [name for name in wanted if name in state and state[name].shape != wanted[name].shape]
    missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    kinds = (
        [f"'{name}' has shape {tuple(state[name].shape)}, not {tuple(wanted[name].shape)}" for name in shapes],
        [f"'{name}' is missing" for name in missing],
        [f"'{name}' is not expected" for name in state if name not in wanted],
    )
    return (problem for several in zip_longest(*kinds) for problem in several if problem)
