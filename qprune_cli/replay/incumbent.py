"""A network near an incumbent mask: made small once, with everything remembered that masks near the incumbent share with it."""

from functools import cached_property

import numpy as np
import torch
from torch import nn

from qprune_cli.graph.masks import check_layout
from qprune_cli.graph.network import Network
from qprune_cli.replay.gated import GatedNetwork
from qprune_cli.replay.replay import Replay
from qprune_cli.types import Bools, Floats, Layout

ROOM, SPARE = 1.1, 24  # its network may have so many times the incumbent's filters, and so many more
SMALL = 1e8  # multiply-accumulates of an image, below which a network stays whole: kernels for ever new widths cost more than they save
MOST_BYTES = 2**30  # remembered at most, but for one batch of images


class IncumbentCache:
    """Runs a network at masks near an incumbent on batches of images.

    The network is made smaller once: to the filters of the incumbent and those that other masks keep beside them. It grows when masks
    keep further ones, and begins anew where it has become too large or the incumbent is another.

    Args:
        model: the network, which stays as it is meanwhile.
        layout: its filters.
        max_bytes: of remembered values.
    """

    def __init__(self, model: nn.Module, layout: Layout, max_bytes: int = MOST_BYTES) -> None:
        self.model, self.layout, self.max_bytes = model, layout, max_bytes
        self.incumbent, self.filters = np.zeros(layout.n, bool), np.zeros(layout.n, bool)  # masks; the network has these filters
        self.network: GatedNetwork | None = None
        self.replays: dict[tuple[int, ...], Replay] = {}

    def grouped(self, keep: Bools, near: Bools) -> list[list[int]]:
        """Cut (b, n) masks into lists of those that one small network can serve, by row.

        Args:
            keep: the masks.
            near: (n,) the incumbent; a mask far from it is alone.
        """
        room, filters = self._room(near), near | (self.filters & self._serves(near))
        groups: list[list[int]] = [[]]
        for row, mask in enumerate(keep):
            if groups[-1] and (filters | mask).sum() > room:
                groups.append([])
                filters = near
            groups[-1].append(row)
            filters = filters | mask
        return groups

    def prepare(self, keep: Bools, near: Bools) -> None:
        """Make the network ready for (b, n) masks, one of the lists of ``grouped``; ``near`` is the incumbent."""
        needed = keep.any(axis=0)
        if len(keep) == 1 and (near | needed).sum() > self._room(near):  # a mask far away: nothing is shared
            near = keep[0]
        if not (near == self.incumbent).all():
            self.replays = {}
        filters = self.filters if self._serves(near) and (self.filters | needed).sum() <= self._room(near) else near
        if self.network is None or (filters != self.filters).any() or (needed & ~filters).any() or not self._serves(near):
            self.filters, self.replays = filters | needed | near | self._small, {}
            self.network = GatedNetwork.of_mask(self._operations, self.layout, self.filters)
        self.incumbent = near.copy()

    def replay(self, images: tuple[int, ...], inputs: Floats) -> Replay:
        """The network at the incumbent on a batch of images.

        Args:
            images: their numbers, by which the batch is remembered.
            inputs: (N, C, H, W) the images.
        """
        assert self.network is not None, "prepare comes first"
        if images not in self.replays:
            device = next(self.model.parameters()).device
            replay = Replay(self.network, self.incumbent, torch.from_numpy(inputs).to(device))
            if replay.bytes + sum(other.bytes for other in self.replays.values()) > self.max_bytes:
                return replay
            self.replays[images] = replay
        return self.replays[images]

    @cached_property
    def _operations(self) -> Network:
        """The whole network, with the rules of its operations."""
        check_layout(self.model, self.layout)
        return Network(self.model, self.layout.shape, self.layout.wrap)

    def _serves(self, near: Bools) -> bool:
        """Whether the small network has all filters of an incumbent, and not many beside them."""
        return bool((near <= self.filters).all() and self.filters.sum() <= self._room(near))

    @cached_property
    def _small(self) -> bool:
        """Whether a network is so quick that another one for each incumbent costs more than it saves."""
        return sum(self._operations.graph.macs(self.layout.shape).values()) < SMALL

    def _room(self, near: Bools) -> float:
        """Filters that the small network may have for an incumbent."""
        return self.layout.n if self._small else ROOM * int(near.sum()) + SPARE
