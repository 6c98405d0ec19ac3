"""Some channels of a value."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Part:
    """Channels of a value that differ from what was remembered of it.

    Attributes:
        index: (k,) which, rising.
        values: (N, k, ...) what they are.

    Example:
        >>> part = Part(torch.tensor([2]), torch.tensor([[7.0]]))
        >>> part.onto(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
        [[1.0, 2.0, 7.0]]
    """

    index: Tensor
    values: Tensor

    def onto(self, remembered: Tensor) -> Tensor:
        """The whole value."""
        return self.among(remembered, torch.arange(remembered.shape[1], device=self.index.device))

    def among(self, remembered: Tensor, index: Tensor) -> Tensor:
        """Channels of the whole value, its own among them."""
        if len(index) == len(self.index):
            return self.values
        rest = index[torch.isin(index, self.index, assume_unique=True, invert=True)]
        order = torch.cat([rest, self.index]).argsort()
        return channels(torch.cat([channels(remembered, rest), self.values], dim=1), order)


def channels(value: Tensor, index: Tensor) -> Tensor:
    """Some channels, in the memory order of the value; torch's own way takes several times as long where channels lie last."""
    if value.dim() != 4 or value.is_contiguous() or not value.is_contiguous(memory_format=torch.channels_last):
        return value.index_select(1, index)
    rows = value.permute(0, 2, 3, 1)
    found = rows.flatten(0, 2).index_select(1, index)
    return found.view(*rows.shape[:3], len(index)).permute(0, 3, 1, 2)
