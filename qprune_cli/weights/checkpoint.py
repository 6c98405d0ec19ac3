"""Checkpoints: weights in safetensors, with the recipe that made them as metadata; never a pickle."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import Field, asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from qprune_cli.errors import UserError, nearest
from qprune_cli.places import absolute_path, checkpoint_dir

SHIPPED = checkpoint_dir()
Recipe = dict[str, Any]  # settings as JSON gives them back


def check_channels(channels: int) -> None:
    """Refuse images that are neither grey nor in colour.

    Raises:
        UserError: another number of channels than 1 or 3.
    """
    if channels not in (1, 3):
        raise UserError(f"model.channels={channels}: give 1 for grey or 3 for colour images")


def absolute_weights(weights: str | None) -> str | None:
    """Make the path of a checkpoint absolute, so that a record of it holds in any folder; names stay as they are."""
    return absolute_path(weights) if weights and weights.endswith(".safetensors") else weights


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


class Checkpointed(Protocol):
    """Settings of a network that a checkpoint fills: a dataclass of the role ``model``."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def weights(self) -> str | None:
        """Path or name of the checkpoint (see ``find_weights``)."""

    def build(self) -> nn.Module:
        """Make the network with fresh weights."""


def load_weights(settings: Checkpointed) -> nn.Module:
    """Build a network, fill it with the weights of its checkpoint and put it into evaluation mode.

    Args:
        settings: of the network; compared with those that the checkpoint was made with, where it holds them.

    Raises:
        UserError: no checkpoint named, or it is missing, damaged, of another architecture, or holds values that are not finite.
    """
    model, path = settings.build(), find_weights(settings.weights)
    try:
        state = load_file(path)
        with safe_open(path, "pt") as file:
            recipe = _recipe(file.metadata() or {}).get("model", {})
    except (SafetensorError, OSError) as error:
        raise UserError(f"model.weights={settings.weights}: not a readable safetensors file ({error})") from error
    plain = json.loads(json.dumps(asdict(settings)))  # as a recipe holds them: lists, not tuples
    if problem := next(_misfits(plain, recipe, state, model.state_dict()), None):
        raise UserError(f"model.weights={settings.weights}: {problem}")
    model.load_state_dict(state)
    return model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]  # faster on CPUs


def _misfits(settings: Recipe, recipe: Recipe, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterator[str]:
    """Why a checkpoint does not fit a network: other settings, other names or shapes, then values that no weight has.

    Args:
        settings: of the network.
        recipe: what the checkpoint says of its own network; empty where it says nothing.
        state: the tensors of the checkpoint.
        wanted: those of the network.
    """
    for name in settings.keys() & recipe.keys() - {"weights"}:
        if settings[name] != recipe[name]:
            yield (
                f"made for another architecture, with model.{name}={recipe[name]}; set it so, or name weights "
                "that fit (`qprune train` makes them)"
            )
    here, there = ({name: tuple(tensor.shape) for name, tensor in tensors.items()} for tensors in (wanted, state))
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            yield (
                f"made for another architecture: '{name}' is {there.get(name, 'missing')} there and "
                f"{here.get(name, 'not wanted')} here; set model.* as it was trained"
            )
    for name, expected in wanted.items():
        tensor = state[name]
        if tensor.is_floating_point() != expected.is_floating_point():
            yield f"'{name}' holds {tensor.dtype} where {expected.dtype} belongs; take the original checkpoint"
        if not torch.isfinite(tensor).all():
            yield f"'{name}' holds values that are not finite; train again or take another checkpoint"


def read_weights(model: nn.Module, path: Path) -> None:
    """Fill a network with weights that were saved from one just like it.

    Raises:
        UserError: the file is missing, damaged, or of another network.
    """
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise UserError(f"{path}: does not hold the weights of this network ({reason}); take the folder as the run left it") from error


def _recipe(metadata: Mapping[str, str]) -> Recipe:
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


def _plain(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in model.state_dict().items()}


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over names, shapes and values of all weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
