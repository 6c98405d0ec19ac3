"""Networks that answer for masks near an incumbent: small ones, with everything remembered that the masks share with it."""

from functools import cached_property

import numpy as np
import torch
from torch import nn

from qprune_cli.graph.masks import check_layout
from qprune_cli.graph.network import Network
from qprune_cli.replay.gated import GatedNetwork
from qprune_cli.replay.replay import Replay
from qprune_cli.types import Bools, Floats, Layout

ROOM, SPARE = 1.1, 24  # its network may hold so many times the incumbent's filters, and so many more
SMALL = 1e8  # multiply-accumulates of an image, below which a network stays whole: kernels for ever new widths cost more than they save
MOST_BYTES = 2**30  # remembered at most, but for one batch of images


class IncumbentCache:
    """Runs a network at masks near an incumbent on batches of images.

    The network is made smaller once: to the filters of the incumbent and those that were asked for beside them. It grows when others
    are asked for, and begins anew where it has become too large or the incumbent is another.

    Args:
        model: the network, which stays as it is meanwhile.
        layout: its filters.
        most: bytes of remembered values.
    """

    def __init__(self, model: nn.Module, layout: Layout, most: int = MOST_BYTES) -> None:
        self.model, self.layout, self.most = model, layout, most
        self.near, self.held = np.zeros(layout.n, bool), np.zeros(layout.n, bool)
        self.network: GatedNetwork | None = None
        self.replays: dict[tuple[int, ...], Replay] = {}

    def grouped(self, keep: Bools, near: Bools) -> list[list[int]]:
        """Cut (b, n) masks into lists of those that one small network can serve, by position; a mask far from ``near`` is alone."""
        room, held = self._room(near), near | (self.held & self._serves(near))
        groups: list[list[int]] = [[]]
        for place, mask in enumerate(keep):
            if groups[-1] and (held | mask).sum() > room:
                groups.append([])
                held = near
            groups[-1].append(place)
            held = held | mask
        return groups

    def prepare(self, keep: Bools, near: Bools) -> None:
        """Be ready for (b, n) masks, one of the lists of ``grouped``."""
        asked = keep.any(axis=0)
        if len(keep) == 1 and (near | asked).sum() > self._room(near):  # a mask far away: nothing is shared
            near = keep[0]
        if not (near == self.near).all():
            self.replays = {}
        held = self.held if self._serves(near) and (self.held | asked).sum() <= self._room(near) else near
        if self.network is None or (held != self.held).any() or (asked & ~held).any() or not self._serves(near):
            self.held, self.replays = held | asked | near | self._small, {}
            self.network = GatedNetwork.of_mask(self._rules, self.layout, self.held)
        self.near = near.copy()

    def replay(self, images: tuple[int, ...], noisy: Floats) -> Replay:
        """The network at the incumbent on (N, C, H, W) images, which are known by their numbers."""
        assert self.network is not None, "prepare comes first"
        if images not in self.replays:
            device = next(self.model.parameters()).device
            found = Replay(self.network, self.near, torch.from_numpy(noisy).to(device))
            if found.bytes + sum(replay.bytes for replay in self.replays.values()) > self.most:
                return found
            self.replays[images] = found
        return self.replays[images]

    @cached_property
    def _rules(self) -> Network:
        check_layout(self.model, self.layout)
        return Network(self.model, self.layout.shape, self.layout.wrap)

    def _serves(self, near: Bools) -> bool:
        """Whether the small network holds an incumbent, and not much beside it."""
        return bool((near <= self.held).all() and self.held.sum() <= self._room(near))

    @cached_property
    def _small(self) -> bool:
        """Whether a network is so quick that another one for each incumbent costs more than it saves."""
        return sum(self._rules.graph.macs(self.layout.shape).values()) < SMALL

    def _room(self, near: Bools) -> float:
        return self.layout.n if self._small else ROOM * int(near.sum()) + SPARE
