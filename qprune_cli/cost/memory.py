"""Activation memory: the largest sum of values that exist at the same time in a forward pass."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from qprune_cli.graph.execute import precision, without_memory


class _Peak(TorchDispatchMode):
    """Watches every operation, and which of the values made so far still exist.

    Args:
        image: the input, which exists before the first operation.

    Attributes:
        peak: largest number of bytes so far.
        live: weak reference and number of bytes of each piece of memory.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak: int = 0
        self.live: dict[int, tuple[StorageWeakRef, int]] = {}
        self._see(image)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._see(value)
        self.live = {key: entry for key, entry in self.live.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.live.values()))
        return result

    def _see(self, value: Tensor) -> None:
        """Note the memory of a value; values that share it count once."""
        storage = value.untyped_storage()
        reference = StorageWeakRef(storage)
        self.live[reference.cdata] = reference, storage.nbytes()


def peak_activations(model: nn.Module, shape: Sequence[int]) -> int:
    """Bytes of all values, input and output included, that exist at once when the network sees one image; weights are not counted.

    Nothing is computed: the network runs on shapes. What a library needs inside of one operation is not seen.

    Args:
        model: the network.
        shape: (C, H, W) of the image.

    Example:
        >>> peak_activations(nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True)), (1, 10, 10))
        1200
    """
    ghost = without_memory(model).eval()
    image = torch.empty(1, *shape, dtype=precision(model), device="meta")
    with torch.no_grad(), _Peak(image) as mode:
        ghost(image)
    return int(mode.peak)
