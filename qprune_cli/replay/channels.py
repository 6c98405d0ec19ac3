"""The channels of a value that differ from what was remembered of it."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ChangedChannels:
    """Channels of a value (N, C, ...) that differ from what was remembered of it.

    Attributes:
        index: (k,) which channels, rising.
        values: (N, k, ...) what they are now.

    Example:
        >>> changed = ChangedChannels(torch.tensor([2]), torch.tensor([[7.0]]))
        >>> changed.onto(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
        [[1.0, 2.0, 7.0]]
    """

    index: Tensor
    values: Tensor

    def onto(self, remembered: Tensor) -> Tensor:
        """(N, C, ...) the whole value: the remembered one with these channels in place of its own."""
        return self.among(remembered, torch.arange(remembered.shape[1], device=self.index.device))

    def among(self, remembered: Tensor, index: Tensor) -> Tensor:
        """(N, len(index), ...) channels ``index`` of the whole value; all changed ones must be among them."""
        if len(index) == len(self.index):
            return self.values
        rest = index[torch.isin(index, self.index, assume_unique=True, invert=True)]
        order = torch.cat([rest, self.index]).argsort()
        return select_channels(torch.cat([select_channels(remembered, rest), self.values], dim=1), order)


def select_channels(value: Tensor, index: Tensor) -> Tensor:
    """(N, C, ...) -> (N, len(index), ...), in the memory order of the value.

    ``index_select`` alone takes several times as long where the channels lie last in memory.
    """
    if value.dim() != 4 or value.is_contiguous() or not value.is_contiguous(memory_format=torch.channels_last):
        return value.index_select(1, index)
    rows = value.permute(0, 2, 3, 1)
    selected = rows.flatten(0, 2).index_select(1, index)
    return selected.view(*rows.shape[:3], len(index)).permute(0, 3, 1, 2)
