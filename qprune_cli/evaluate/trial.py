"""A first look at whether networks and images belong together, before anything is measured."""

from typing import Any

import torch
from torch import nn

from qprune_cli.errors import UserError
from qprune_cli.types import Floats, ImageSet


@torch.no_grad()
def tried(model: nn.Module, image: Floats) -> Any:
    """What a network gives for an image alone.

    Args:
        model: the network.
        image: (C, H, W) float32.

    Raises:
        UserError: it computes in another precision, or cannot take the image.
    """
    name, parameter = type(model).__name__, next(model.parameters(), torch.zeros(0))
    if parameter.dtype != torch.float32:
        raise UserError(f"{name}: computes in {parameter.dtype}; convert it with model.float()")
    try:
        return model(torch.from_numpy(image[None]).to(parameter.device))
    except Exception as error:  # the user's own code may raise anything
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"{name}: does not take an image of shape {[1, *image.shape]} ({said}); set model.channels to the channels that it takes, or "
            "give images of a size that it takes"
        ) from error


def shape_of(result: Any) -> list[int] | str:
    """The shape of what a network gave, or what else it is, for messages."""
    return list(result.shape) if isinstance(result, torch.Tensor) else f"a {type(result).__name__}"


def refuse_other_channels(images: ImageSet, channels: int) -> None:
    """Refuse images of another number of channels than a network wants.

    Raises:
        UserError: it names the first one.
    """
    for name, image, _ in images.pairs:
        if len(image) != channels:
            raise UserError(
                f"image '{name}': {len(image)} channels where the network wants {channels}; set data.channels to model.channels"
            )
