"""What scorers predict: the rise of the loss when one filter goes, and the further rise when two go together. NumPy only."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from qprune_cli.types import Bools, Floats, Ints, Layout, frozen


@dataclass(frozen=True)
class Pairs:
    r"""Couplings ``Q_ij`` between filters: one block for each layer, and a factor of low rank that couples all of them.

    ``Q_ij = blocks_ij + sum_r factor_ri factor_rj`` for ``i != j``; a matrix over all filters is never built.

    Attributes:
        blocks: for each layer a symmetric (channels, channels) matrix: the further rise of the damage when both filters go. Diagonals
            are set to 0. Empty where no layer has couplings of its own.
        factor: (r, n) matrix whose Gram matrix couples all filters; None where no coupling reaches from one layer to another.

    Example:
        >>> pairs = Pairs((np.array([[0.0, 2.0], [2.0, 0.0]]),))
        >>> pairs.field(np.array([[1.0, 0.0]])).tolist()
        [[0.0, 2.0]]
    """

    blocks: tuple[Floats, ...] = ()
    factor: Floats | None = None

    def __post_init__(self) -> None:
        blocks = []
        for block in self.blocks:
            assert block.shape == block.shape[::-1], "one square matrix per layer"
            if np.diagonal(block).any():
                block = block.copy()
                np.fill_diagonal(block, 0)
            blocks.append(frozen(block))
        object.__setattr__(self, "blocks", tuple(blocks))
        if self.factor is not None:
            object.__setattr__(self, "factor", frozen(self.factor))

    @staticmethod
    def none() -> "Pairs":
        """Make pairs without any coupling."""
        return Pairs()

    @staticmethod
    def listed(layout: Layout, i: Ints, j: Ints, weight: Floats) -> "Pairs":
        """Make couplings within layers from (p,) lists: ``weight[k]`` couples filters ``i[k]`` and ``j[k]`` of one layer."""
        starts = np.concatenate([[0], np.cumsum([group.channels for group in layout.groups])])
        layer = layout.layer_of
        assert bool((layer[i] == layer[j]).all()), "a list couples filters of one layer"
        blocks = [np.zeros((group.channels, group.channels)) for group in layout.groups]
        for a, b, w in zip(i, j, weight, strict=True):
            start = starts[layer[a]]
            blocks[layer[a]][a - start, b - start] = blocks[layer[a]][b - start, a - start] = w
        return Pairs(tuple(blocks))

    @property
    def separable(self) -> bool:
        """Whether no coupling reaches from one layer to another."""
        return self.factor is None

    @property
    def empty(self) -> bool:
        """Whether no filter is coupled with another."""
        return self.factor is None and not any(block.any() for block in self.blocks)

    @cached_property
    def _slices(self) -> tuple[slice, ...]:
        stops = np.cumsum([len(block) for block in self.blocks]).tolist()
        return tuple(slice(stop - len(block), stop) for stop, block in zip(stops, self.blocks, strict=True))

    @cached_property
    def _layer_of(self) -> Ints:
        return np.repeat(np.arange(len(self.blocks)), [len(block) for block in self.blocks])

    def field(self, drop: Floats) -> Floats:
        """(b, n) drops, 1 where a filter goes, -> (b, n) local field ``sum_j Q_ij drop_j`` of every filter."""
        result = np.zeros(drop.shape)
        for filters, block in zip(self._slices, self.blocks, strict=True):
            result[:, filters] = drop[:, filters] @ block
        if self.factor is not None:
            result += drop @ self.factor.T @ self.factor - drop * np.square(self.factor).sum(axis=0)
        return result

    def row(self, i: int, n: int) -> tuple[slice, Floats]:
        """The couplings of filter i: the slice of the n filters that they reach, and (length of the slice,) weights."""
        if self.factor is None:
            if not self.blocks:
                return slice(0, 0), np.empty(0)
            filters = self._slices[self._layer_of[i]]
            return filters, self.blocks[self._layer_of[i]][i - filters.start]
        couplings = self.factor[:, i] @ self.factor
        couplings[i] = 0
        if self.blocks:
            filters = self._slices[self._layer_of[i]]
            couplings[filters] += self.blocks[self._layer_of[i]][i - filters.start]
        return slice(0, n), couplings

    def between(self, i: Ints, j: Ints) -> Floats:
        """(len(i), len(j)) couplings of filters i with filters j; a filter has none with itself."""
        couplings = np.zeros((len(i), len(j)))
        if self.blocks:
            layers_i, layers_j = self._layer_of[i], self._layer_of[j]
            for layer in np.intersect1d(layers_i, layers_j):
                start = self._slices[layer].start
                rows, columns = np.flatnonzero(layers_i == layer), np.flatnonzero(layers_j == layer)
                couplings[np.ix_(rows, columns)] = self.blocks[layer][np.ix_(i[rows] - start, j[columns] - start)]
        if self.factor is not None:
            couplings += self.factor[:, i].T @ self.factor[:, j] * (i[:, None] != j[None, :])
        return couplings

    def entries(self, n: int) -> tuple[Ints, Ints, Floats]:
        """All couplings that are not 0, as three (p,) arrays: the smaller filter, the larger filter and the weight."""
        parts = list(self._entries(n))
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        i, j, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
        used = weight != 0
        return i[used], j[used], weight[used]

    def _entries(self, n: int) -> Iterator[tuple[Ints, Ints, Floats]]:
        if self.factor is not None:
            all_filters = np.arange(n)
            i, j = np.triu_indices(n, k=1)
            yield i, j, self.between(all_filters, all_filters)[i, j]
            return
        for filters, block in zip(self._slices, self.blocks, strict=True):
            i, j = np.triu_indices(len(block), k=1)
            yield i + filters.start, j + filters.start, block[i, j].astype(np.float64)

    def sums(self, n: int) -> tuple[Floats, Floats]:
        """Two (n,) arrays: for each filter the sum of its couplings below 0, and of those above 0."""
        low, high = np.zeros(n), np.zeros(n)
        if self.factor is None:
            for filters, block in zip(self._slices, self.blocks, strict=True):
                low[filters], high[filters] = np.minimum(block, 0).sum(axis=1), np.maximum(block, 0).sum(axis=1)
            return low, high
        all_filters = np.arange(n)
        for part in np.array_split(all_filters, -(-n // 512)):
            rows = self.between(part, all_filters)
            low[part], high[part] = np.minimum(rows, 0).sum(axis=1), np.maximum(rows, 0).sum(axis=1)
        return low, high


@dataclass(frozen=True)
class Quadratic:
    """The loss to second order around a mask z, its gates taken as real numbers: ``L(z + u) = L(z) + gradient . u + 1/2 |factor u|^2``.

    Attributes:
        gradient: (n,) derivative of the loss by each gate, of kept and of dropped filters.
        factor: (rows, n) matrix whose Gram matrix is the curvature, across all layers.
        dead: (n,) True where the filter's output was exactly 0 on all images.
    """

    gradient: Floats
    factor: Floats
    dead: Bools

    def linear(self, gone: Floats, pairs: Pairs) -> Floats:
        """(n,) linear terms of the same function written in ``d = 1 - keep``, next to given couplings.

        Args:
            gone: (n,) the mask that it was expanded around: 1 where a filter is dropped, 0 where it is kept.
            pairs: the couplings of the function in ``d``.
        """
        curvature = np.square(self.factor).sum(axis=0)
        return np.asarray(-self.gradient + curvature * (0.5 - gone) - pairs.field(gone[None])[0])


@dataclass(frozen=True, slots=True)
class Scores:
    """What a scorer predicts for the n filters; higher means that the filter matters more.

    Attributes:
        linear: (n,) predicted rise of the task loss when a filter alone goes.
        pairs: predicted further rise when both filters of a pair go.
        dead: (n,) True where the filter was exactly 0 on all calibration data; None where the scorer did not look.
        notes: the scorer's record of how it computed them, ready for JSON; ``warnings`` in it are sentences for the user.
    """

    linear: Floats
    pairs: Pairs
    dead: Bools | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "linear", frozen(np.asarray(self.linear, np.float64)))
        if self.dead is not None:
            assert self.linear.shape == self.dead.shape, "one linear score and one dead flag per filter"
            object.__setattr__(self, "dead", frozen(self.dead))
