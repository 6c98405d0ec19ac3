"""Images of any size for networks that halve the resolution several times."""

from torch import Tensor
from torch.nn import functional as F


def padded(image: Tensor, multiple: int) -> Tensor:
    """Repeat the right and lower border of (N, C, H, W) images until their sides are multiples of a number.

    Example:
        >>> import torch
        >>> tuple(padded(torch.zeros(1, 3, 5, 8), 4).shape)
        (1, 3, 8, 8)
    """
    height, width = image.shape[-2], image.shape[-1]
    return F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def cropped(output: Tensor, image: Tensor) -> Tensor:
    """Cut the output (N, C, H', W') for a padded image to the height and width of the image itself."""
    return output[:, :, : image.shape[-2], : image.shape[-1]]
