"""One trial pass, and what it and the images are checked for, before anything is measured."""

from typing import Any

import torch
from torch import nn

from qprune_cli.errors import UserError
from qprune_cli.types import Floats, ImageSet


@torch.no_grad()
def trial_output(model: nn.Module, image: Floats) -> Any:
    """What a network gives for one image alone, (1, ...) if it is a tensor.

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
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"{name}: does not take an image of shape {[1, *image.shape]} ({reason}); set model.channels to the channels that it takes, or "
            "give images of a size that it takes"
        ) from error


def shape_of(result: Any) -> list[int] | str:
    """The shape of what a network gave, for messages; the name of its type where it is no tensor."""
    return list(result.shape) if isinstance(result, torch.Tensor) else f"a {type(result).__name__}"


def refuse_other_channels(images: ImageSet, channels: int) -> None:
    """Refuse images of another number of channels than a network takes.

    Raises:
        UserError: it names the first such image.
    """
    for name, image, _ in images.pairs:
        if len(image) != channels:
            raise UserError(
                f"image '{name}': {len(image)} channels where the network wants {channels}; set data.channels to model.channels"
            )
