"""Modules that a smaller network holds beside its own: some channels of a value, or a value at its places among more."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

MOST_RUNS = 8  # of neighbouring channels; more are faster by index, and would make long programs


class Select(nn.Module):
    """Some channels of a value.

    Runs of neighbouring channels are copied as slices, which keep the order of the memory: an index would give up channels_last.
    """

    def __init__(self, index: Sequence[int], axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.runs = runs(index)
        self.index: Tensor
        self.register_buffer("index", torch.tensor(index), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) -> (N, len(index), ...)."""
        if len(self.runs) > MOST_RUNS:
            return x.index_select(self.axis, self.index)
        return torch.cat([x.narrow(self.axis, start, length) for start, length in self.runs], self.axis)


class Scatter(nn.Module):
    """The channels of a value at their places among ``channels``, zeros elsewhere."""

    def __init__(self, index: Sequence[int], channels: int, axis: int) -> None:
        super().__init__()
        self.channels, self.axis = channels, axis
        self.runs = runs(index)
        self.index: Tensor
        self.register_buffer("index", torch.tensor(index, dtype=torch.int64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, len(index), ...) -> (N, channels, ...); without any index, zeros."""
        if len(self.runs) > MOST_RUNS or not self.runs:
            shape = [self.channels if k == self.axis else size for k, size in enumerate(x.shape)]
            last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
            order = torch.channels_last if last else torch.contiguous_format
            empty = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=order).zero_()
            return empty.index_copy_(self.axis, self.index, x) if self.runs else empty
        return torch.cat(list(self._pieces(x)), self.axis)

    def _pieces(self, x: Tensor) -> Iterator[Tensor]:
        """Runs of channels, and the zeros before, between and behind them."""
        taken = filled = 0
        for start, length in [*self.runs, (self.channels, 0)]:
            while filled < start:  # zeros in the memory order of the value
                zeros = x.narrow(self.axis, 0, min(start - filled, len(self.index)))
                filled += zeros.shape[self.axis]
                yield torch.zeros_like(zeros)
            if length:
                yield x.narrow(self.axis, taken, length)
            taken, filled = taken + length, filled + length

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"{len(self.index)} -> {self.channels}"


class Onto(nn.Module):
    """Adds the channels of a value at their places onto another one, which it writes over."""

    def __init__(self, index: Sequence[int], axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.places = list(index)
        self.runs = runs(index)

    def forward(self, total: Tensor, x: Tensor) -> Tensor:
        """(N, C, ...) and (N, len(index), ...) -> (N, C, ...)."""
        taken = 0
        for start, length in self.runs:
            total.narrow(self.axis, start, length).add_(x.narrow(self.axis, taken, length))
            taken += length
        return total


def runs(index: Sequence[int]) -> list[tuple[int, int]]:
    """Cut a rising list into runs of neighbours: first number and length of each.

    Example:
        >>> runs([0, 1, 5, 6, 7])
        [(0, 2), (5, 3)]
    """
    found: list[tuple[int, int]] = []
    for number in index:
        if found and number == sum(found[-1]):
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((number, 1))
    return found
