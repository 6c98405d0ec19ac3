"""Re-fitting the layers that read what a mask changes, and their norms, from normal equations that are kept."""

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from qprune_cli.calibration.samples import centre_crop, evenly_spread
from qprune_cli.regression.equations import LayerEquations
from qprune_cli.regression.norm import NORMS
from qprune_cli.replay.gated import GatedNetwork, Weights
from qprune_cli.replay.replay import Replay
from qprune_cli.types import Bools, Floats, ImageSet, Layout

IMAGES, SIDE = 24, 48  # calibration images that positions are drawn from, and to how many pixels a side each is cut where it may be


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
        x = torch.from_numpy(_centres(images, side)).to(next(dense.parameters()).device)
        wanted = _dense_outputs(dense, layout, x)
        self.replay = Replay(GatedNetwork.of_dense(fitted, layout), keep, x)
        self.equations: dict[fx.Node, LayerEquations] = {}
        for number, node in enumerate(self.replay.nodes):
            module, name = self.replay.module_of(node), str(node.target)
            if type(module) is not nn.Conv2d or module.groups > 1:
                continue
            strength, norm = strengths.get(name), self._norm(node, recalibrated)
            if strength is not None or norm is not None:
                inputs, rng = self.replay.values[node.all_input_nodes[0]], np.random.default_rng([seed, number])
                layer = dense.get_submodule(name)
                self.equations[node] = LayerEquations.drawn(module, layer, inputs, wanted[node.name], strength, norm, rng)

    @torch.no_grad()
    def __call__(self, keep: Bools) -> dict[str, Weights]:
        """Weights and biases of the layers that have others at an (n,) mask than at the base mask, by name."""
        inputs = {node: changed for node, changed in self.replay.changed_inputs(keep).items() if node in self.equations}
        return {str(node.target): self.equations[node].weights(changed) for node, changed in inputs.items()}

    def _norm(self, node: fx.Node, recalibrated: Container[str]) -> Any:
        """The recalibrated norm that alone reads a layer; None where there is none, or where the layer is called several times."""
        users, calls = list(node.users), [other for other in self.replay.nodes if other.target == node.target]
        if len(users) != 1 or len(calls) > 1 or str(users[0].target) not in recalibrated:
            return None
        norm = self.replay.module_of(users[0])
        return norm if isinstance(norm, NORMS) else None


def _dense_outputs(dense: nn.Module, layout: Layout, x: Tensor) -> dict[str, Any]:
    """What each operation of the dense network gives for (N, ...) images, by the name of its node."""
    replay = Replay(GatedNetwork.of_dense(dense, layout), np.ones(layout.n, bool), x)
    return {node.name: replay.unmasked.get(node, replay.values[node]) for node in replay.nodes}


def _centres(images: ImageSet, side: int | None) -> Floats:
    """(N, C, side, side) some images, evenly spread, each cut to its centre; for None as large as the smallest of them."""
    pictures = [pair.input for pair in evenly_spread(images, IMAGES)]
    height, width = (min(picture.shape[axis] for picture in pictures) for axis in (1, 2))
    if side is not None:
        height, width = min(side, height), min(side, width)
    return np.stack([centre_crop(picture, height, width) for picture in pictures])
