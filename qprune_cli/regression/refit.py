"""Re-fitting the layers that read what a mask changes, and their norms, from normal equations that are kept."""

import copy
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from qprune_cli.regression.norm import NORMS, folded
from qprune_cli.regression.regression import Moments
from qprune_cli.regression.rows import layer_pairs, matrix_of, weight_of
from qprune_cli.replay.gated import GatedNetwork, Weights
from qprune_cli.replay.part import Part
from qprune_cli.replay.replay import Replay
from qprune_cli.types import Bools, Floats, ImageSet, Layout

POSITIONS = 4000  # of each layer, over all images
IMAGES, SIDE = 24, 48  # calibration images that positions are drawn from, and to how many pixels a side each is cut where it may be


@dataclass(frozen=True)
class Kept:
    """What is known of a layer at the base mask, at fixed positions of its output.

    Attributes:
        module: the layer of the fitted network.
        places: (p,) rows and columns, of every image.
        rows: (N * p, d) what it reads.
        targets: (N * p, o) what the dense layer gives.
        moments: their products.
        start: (1, d, o) the dense weights.
        fitted: (1, d, o) the weights at the base mask.
        strength: of the ridge; None where the weights stay as they are.
        norm: that reads what the layer gives and whose statistics follow that; None where there is none.
    """

    module: nn.Conv2d
    places: tuple[Tensor, Tensor]
    rows: Tensor
    targets: Tensor
    moments: Moments
    start: Tensor
    fitted: Tensor
    strength: float | None
    norm: Any

    def weights(self, part: Part) -> Weights:
        """Weights and bias when some channels that it reads are others."""
        # differences between two fits, and between two statistics, on the same rows: nothing changes where the mask does not
        moments = self.changed(part)
        matrix = self.fitted + self.solved(moments) - self.solved_before
        found = weight_of(self.module, matrix)
        return found if self.norm is None else folded(self.norm, found, self.spread_before, _channels(moments.spread(matrix)))

    @cached_property
    def solved_before(self) -> Tensor:
        """The weights that fit best at the base mask."""
        return self.solved(self.moments)

    @cached_property
    def spread_before(self) -> tuple[Tensor, Tensor]:
        """(o,) mean and variance of what it gives at the base mask."""
        return _channels(self.moments.spread(self.fitted))

    def solved(self, moments: Moments) -> Tensor:
        """The weights that fit best."""
        return self.fitted if self.strength is None else moments.ridge(self.start, self.strength, self.module.bias is not None)

    def changed(self, part: Part) -> Moments:
        """The products when some channels that it reads are others."""
        taps = self.module.kernel_size[0] * self.module.kernel_size[1]
        columns = (part.index[:, None] * taps + torch.arange(taps, device=part.index.device)).flatten()
        new = rows_of(self.module, part.values, self.places)[:, : len(columns)].double()
        cross = self.rows.double().mT @ new
        cross[columns] = new.mT @ new
        found = copy.copy(self.moments)
        found.inner, found.cross, found.total = found.inner.clone(), found.cross.clone(), found.total.clone()
        found.inner[0][:, columns], found.inner[0][columns] = cross, cross.mT
        found.cross[0][columns] = new.mT @ self.targets.double()
        found.total[0][columns] = new.sum(dim=0)
        return found


def rows_of(module: nn.Module, x: Tensor, places: tuple[Tensor, Tensor]) -> Tensor:
    """(N * p, d) what a layer reads at output positions of (N, C, H, W) inputs, or of some of the channels."""
    empty = x.new_empty(1, *(int(place.max()) + 1 for place in places))
    return torch.cat([layer_pairs(module, one, empty, places)[0][:, 0] for one in x])


class Refit:
    """Weights for masks near one that a network was fitted to.

    Layers that read changed filters directly are fitted again, on rows that were drawn once: of their normal equations only what
    belongs to the changed inputs is computed anew. All other layers stay as they are, those that lie further behind as well, whose
    inputs all change a little. At the base mask every layer has the fitted weights exactly.

    A recalibrated norm that alone reads such a layer is recalibrated again, on the same rows. It keeps its statistics in the network:
    the change of its scale and shift is part of the weights and the bias of the layer. Norms that read anything else stay.

    Args:
        dense: the trained network.
        fitted: the network that was fitted to the base mask.
        layout: its filters.
        keep: (n,) the base mask.
        images: calibration images.
        strengths: of the ridge, by layer; the other layers are not fitted again. Convolutions without groups are.
        recalibrated: names of norms.
        seed: draws the positions.
        side: pixels that images are cut to, at their centre; None for whole ones.
    """

    @torch.no_grad()
    def __init__(
        self,
        dense: nn.Module,
        fitted: nn.Module,
        layout: Layout,
        keep: Bools,
        images: ImageSet,
        strengths: Mapping[str, float],
        recalibrated: Container[str],
        seed: int,
        side: int | None = SIDE,
    ) -> None:
        device = next(dense.parameters()).device
        x = torch.from_numpy(_centres(images, side)).to(device)
        aims = Replay(GatedNetwork.of_dense(dense, layout), np.ones(layout.n, bool), x)
        wanted = {node.name: aims.open.get(node, aims.values[node]) for node in aims.nodes}
        self.replay = Replay(GatedNetwork.of_dense(fitted, layout), keep, x)
        self.kept: dict[fx.Node, Kept] = {}
        for number, node in enumerate(self.replay.nodes):
            module, name = self.replay.called(node), str(node.target)
            if type(module) is not nn.Conv2d or module.groups > 1:
                continue
            strength, norm = strengths.get(name), self._norm(node, recalibrated)
            if strength is not None or norm is not None:
                rng = np.random.default_rng([seed, number])
                self.kept[node] = self._seen(node, dense.get_submodule(name), wanted[node.name], strength, norm, rng)

    @torch.no_grad()
    def __call__(self, keep: Bools) -> dict[str, Weights]:
        """Weights and biases of the layers that an (n,) mask gives others, by name."""
        parts = {node: part for node, part in self.replay.read(keep).items() if node in self.kept}
        return {str(node.target): self.kept[node].weights(part) for node, part in parts.items()}

    def _norm(self, node: fx.Node, recalibrated: Container[str]) -> Any:
        """The recalibrated norm that alone reads a layer; None where there is none, or where the layer is called several times."""
        users, calls = list(node.users), [other for other in self.replay.nodes if other.target == node.target]
        if len(users) != 1 or len(calls) > 1 or str(users[0].target) not in recalibrated:
            return None
        norm = self.replay.called(users[0])
        return norm if isinstance(norm, NORMS) else None

    def _seen(self, node: fx.Node, start: nn.Module, wanted: Tensor, strength: float | None, norm: Any, rng: np.random.Generator) -> Kept:
        module = self.replay.called(node)
        (source,) = node.all_input_nodes
        count = min(-(-POSITIONS // len(wanted)), wanted[0, 0].numel())
        chosen = torch.from_numpy(rng.choice(wanted[0, 0].numel(), count, replace=False)).to(wanted.device)
        places = (torch.div(chosen, wanted.shape[-1], rounding_mode="floor"), chosen % wanted.shape[-1])
        rows = rows_of(module, self.replay.values[source], places)
        targets = wanted[:, :, places[0], places[1]].transpose(1, 2).flatten(0, 1)
        matrix, fitted = matrix_of(start).double(), matrix_of(module).double()
        moments = Moments(1, matrix.shape[1], matrix.shape[2], wanted.device).add(rows[:, None], targets[:, None])
        return Kept(module, places, rows, targets, moments, matrix, fitted, strength, norm)


def _channels(spread: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """(o,) mean and variance of a layer without groups."""
    return spread[0][0], spread[1][0]


def _centres(images: ImageSet, side: int | None) -> Floats:
    """(N, C, side, side) some images, evenly spread, each cut to its centre; (N, C, H, W) whole ones for None."""
    chosen = [images.pairs[int(k)].input for k in np.linspace(0, len(images) - 1, min(IMAGES, len(images))).round()]
    height, width = (min(picture.shape[axis] for picture in chosen) for axis in (1, 2))
    if side is not None:
        height, width = min(side, height), min(side, width)

    def cut(picture: Floats) -> Floats:
        top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
        return picture[:, top : top + height, left : left + width]

    return np.stack([cut(picture) for picture in chosen])
