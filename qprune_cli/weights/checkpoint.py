"""Checkpoints: weights in safetensors, with the recipe that made them as metadata; never a pickle."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from qprune_cli.errors import UserError, nearest
from qprune_cli.places import checkpoint_dir

SHIPPED = checkpoint_dir()


def check_channels(channels: int) -> None:
    """Refuse images that are neither grey nor in colour."""
    if channels not in (1, 3):
        raise UserError(f"model.channels={channels}: give 1 for grey or 3 for colour images")


def absolute_weights(weights: str | None) -> str | None:
    """Make the path of a checkpoint absolute, so that a record of it holds in any folder; names stay as they are."""
    return str(Path(weights).expanduser().absolute()) if weights and weights.endswith(".safetensors") else weights


def find_weights(weights: str | None) -> Path:
    """Turn the setting ``model.weights`` into a file that exists.

    Args:
        weights: path of a ``.safetensors`` file, or the name of a checkpoint that ships with qprune.

    Raises:
        UserError: nothing named, or nothing there.
    """
    if weights is None:
        raise UserError("model.weights=null: name a checkpoint; train one with `qprune train`")
    path = Path(weights) if weights.endswith(".safetensors") else SHIPPED / f"{weights}.safetensors"
    if path.is_file():
        return path
    if Path(weights).is_file():
        raise UserError(f"model.weights={weights}: its name does not end in .safetensors; convert it, or take another checkpoint")
    if path.parent == SHIPPED:
        names = [shipped.stem for shipped in SHIPPED.glob("*.safetensors")]
        raise UserError(
            f"model.weights={weights}: no such checkpoint ships with qprune, and a path ends in .safetensors; {nearest(weights, names)}"
        )
    raise UserError(f"model.weights={weights}: no such file; give the path of a .safetensors checkpoint")


def load_weights(model: nn.Module, weights: str | None, settings: Mapping[str, Any]) -> nn.Module:
    """Fill a network with the weights of a checkpoint and put it into evaluation mode.

    Args:
        model: the network to fill.
        weights: see ``find_weights``.
        settings: how the network was built; compared with what the checkpoint says of itself, where it does.

    Raises:
        UserError: the checkpoint is missing, damaged, of another architecture, or holds values that are not finite.
    """
    path = find_weights(weights)
    try:
        state = load_file(path)
        with safe_open(path, "pt") as file:
            made = _recipe(file.metadata() or {}).get("model", {})
    except (SafetensorError, OSError) as error:
        raise UserError(f"model.weights={weights}: not a readable safetensors file ({error})") from error
    settings = json.loads(json.dumps(dict(settings)))  # as the checkpoint holds them: lists, not tuples
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for name in settings.keys() & made.keys() - {"weights"}:
        if settings[name] != made[name]:
            raise UserError(
                f"model.weights={weights}: made for another architecture, with model.{name}={made[name]}; set it so, or name weights "
                "that fit (`qprune train` makes them)"
            )
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise UserError(
                f"model.weights={weights}: made for another architecture: '{name}' is {found.get(name, 'missing')} there and "
                f"{wanted.get(name, 'not wanted')} here; set model.* as it was trained"
            )
    for name, expected in model.state_dict().items():
        tensor = state[name]
        if tensor.is_floating_point() != expected.is_floating_point():
            raise UserError(
                f"model.weights={weights}: '{name}' holds {tensor.dtype} where {expected.dtype} belongs; take the original checkpoint"
            )
        if not torch.isfinite(tensor).all():
            raise UserError(f"model.weights={weights}: '{name}' holds values that are not finite; train again or take another checkpoint")
    model.load_state_dict(state)
    return model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]  # faster on CPUs


def read_weights(model: nn.Module, path: Path) -> None:
    """Fill a network with weights that were saved from one just like it.

    Raises:
        UserError: the file is missing, damaged, or of another network.
    """
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError) as error:
        said = next(iter(str(error).splitlines()), "")
        raise UserError(f"{path}: does not hold the weights of this network ({said}); take the folder as the run left it") from error


def _recipe(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The settings that a checkpoint of ``qprune train`` holds; none where another program wrote it."""
    try:
        recipe = json.loads(metadata.get("config", "{}"))
    except ValueError:
        return {}
    return recipe if isinstance(recipe, dict) and isinstance(recipe.get("model", {}), dict) else {}


def save_weights(model: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Write a checkpoint; the metadata says how it was made.

    Raises:
        OSError: it cannot be written.
    """
    path.write_bytes(save(_plain(model), metadata))  # safetensors' own writer keeps the file from everyone else


def _plain(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in model.state_dict().items()}


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over names, shapes and values of all weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
