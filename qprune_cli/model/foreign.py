"""Checkpoints that other programs wrote: find the weights of a network in them, or say what does not fit."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from qprune_cli.errors import UserError

PREFIXES = ("", "module.", "model.", "net.", "network.", "_orig_mod.", "module._orig_mod.")  # of wrappers that a network was saved in
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
        raise UserError(f"model.checkpoint={checkpoint}: no such file; give a .pth or .safetensors file")
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
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UserError(
            f"model.checkpoint={path}: holds more than weights, which could run code when read, or is damaged; "
            "save model.state_dict() where you trust it"
        ) from error
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"model.checkpoint={path}: not a readable checkpoint ({said})") from error


def _variants(value: Any, depth: int = 2) -> Iterator[dict[str, Tensor]]:
    """All that could be a state dict in what a file holds, with and without the prefixes of wrappers."""
    if not isinstance(value, Mapping):
        return
    tensors = {str(name): tensor for name, tensor in value.items() if isinstance(tensor, Tensor)}
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            yield {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if depth:
        for name in sorted(map(str, value), key=lambda name: "ema" not in name.lower()):
            yield from _variants(value.get(name), depth - 1)


def _fit(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> int:
    return sum(name in state and state[name].shape == tensor.shape for name, tensor in wanted.items()) - len(state.keys() - wanted.keys())


def _problems(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterator[str]:
    for name, tensor in wanted.items():
        if name not in state and not name.endswith("num_batches_tracked"):
            yield f"'{name}' is missing"
        elif name in state and state[name].shape != tensor.shape:
            yield f"'{name}' has shape {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
    for name in state.keys() - wanted.keys():
        yield f"'{name}' is not expected"
