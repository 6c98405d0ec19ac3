"""Ridge regression: every layer learns to work with what the cut left it."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from qprune_cli.errors import UserError
from qprune_cli.evaluate.masked import silenced_merit
from qprune_cli.evaluate.task import task_of
from qprune_cli.graph.masks import per_layer
from qprune_cli.graph.network import Network
from qprune_cli.regression.capture import input_of, output_of
from qprune_cli.regression.choice import improve_
from qprune_cli.regression.linear_map import drawn_positions, layer_pairs, matrix_of
from qprune_cli.regression.moments import Moments
from qprune_cli.regression.norm import NORMS, norm_matrix, norm_pairs
from qprune_cli.surgery.silence import silence
from qprune_cli.types import Bools, ImageSet, Layout, Splits

HELD_OUT = 4  # every so many-th calibration image chooses the strength and is not fitted
BATCH = 8  # images at a time


@dataclass(frozen=True)
class Ridge:
    """Re-fit one layer after the other, in network order, so that it gives again what it gave before the cut.

    Each layer reads what the silenced network gives it, with all layers before it re-fitted already, and aims at the outputs of the
    dense network: ``min ||X W - Y||^2 + mu ||W - W_0||^2``, bias included and free. ``mu`` is chosen on calibration images that were
    not fitted, with the weights as they are among the choices; the whole is taken only if the metric on the refinement images
    improves. Only sums of products are kept, so memory does not depend on the number of images.

    Args:
        positions: at most so many output positions of each layer are looked at, spread over the images.
        batchnorm: measure the statistics of BatchNorm on the pruned network, layer by layer, where that brings the outputs of the
            norm nearer to the dense ones on the same held-out images.

    References:
        He, Zhang, Sun, "Channel pruning for accelerating very deep neural networks", ICCV 2017, arXiv:1707.06168 (re-fitting by least
        squares). The ridge toward the old weights, its choice and the two tests are ours.
    """

    positions: int = 20000
    batchnorm: bool = False

    def __post_init__(self) -> None:
        if self.positions < 1:
            raise UserError(f"compensate.positions={self.positions}: give a number of positions, at least 1")

    def fit(
        self, dense: nn.Module, layout: Layout, keep: Bools, splits: Splits, seed: int, before: Bools | None = None
    ) -> tuple[nn.Module, Mapping[str, Any]]:
        """Re-fit the layers behind dropped filters.

        Args:
            dense: the trained network; it is left as it is.
            layout: its filters.
            keep: (n,) mask.
            splits: calibration images to fit, refinement images to judge.
            seed: draws the positions.
            before: (n,) mask that the network was trained behind in an earlier round: what its layers gave there they are to give again.

        Returns:
            A network of the shape of the dense one, to be silenced or made smaller by the same mask, or the dense network itself where
            nothing improves; and notes that say what became of each layer, ready for JSON.
        """
        if keep.all():
            return dense, {}
        fitted, masks, rows = copy.deepcopy(dense), per_layer(layout, keep), []
        names = self._names(dense, layout)
        aim = nullcontext() if before is None else silence(dense, layout, before | keep)  # what has come back counts as never gone
        with aim, silence(fitted, layout, keep), tqdm(names, desc="compensate", unit="layer", leave=False, disable=None) as bar:
            for number, (name, owner) in enumerate(bar):
                fit, held_out = self._moments(dense, fitted, name, splits.calibration, np.random.default_rng([seed, number]))
                rows.append({"layer": name} | improve_(fitted.get_submodule(name), fit, held_out, masks.get(owner)))
        task = task_of(splits)
        old, new = (silenced_merit(task, model, layout, keep, splits.refinement) for model in (dense, fitted))
        accepted = new > old
        notes = {"accepted": accepted, f"refinement_{task.merit.name}": {"before": old, "after": new}, "layers": rows}
        return (fitted if accepted else dense), notes

    def _names(self, dense: nn.Module, layout: Layout) -> list[tuple[str, str]]:
        """The layers to re-fit, in network order, and the norms; each with the layer whose filters it gives."""
        network = Network(dense, layout.shape, layout.wrap)
        modules, names = network.graph.modules, []
        for operation in network.operations.values():
            module = modules.get(operation.name)
            if operation.name in network.shared:
                continue
            if operation.is_layer:
                names.append((operation.name, operation.name))
            elif self.batchnorm and isinstance(module, NORMS) and module.running_mean is not None:
                names.append((operation.name, network.sources(operation)[0].name))
        return names

    def _moments(
        self, dense: nn.Module, fitted: nn.Module, name: str, images: ImageSet, rng: np.random.Generator
    ) -> tuple[Moments, Moments]:
        """Moments of one layer over the images to fit, and over those held out."""
        module = fitted.get_submodule(name)
        device = next(fitted.parameters()).device
        norm = isinstance(module, NORMS)
        pairs = norm_pairs if norm else partial(layer_pairs, module)
        groups, inputs, outputs = (norm_matrix(module) if norm else matrix_of(module)).shape
        fit, held_out = (Moments(groups, inputs, outputs, device) for _ in range(2))
        every, most = min(HELD_OUT, len(images)), -(-self.positions // len(images))
        for number, (x, y) in enumerate(_inputs_and_outputs(dense, fitted, name, images, device)):
            (held_out if number % every == every - 1 else fit).add(*pairs(x, y, drawn_positions(y, most, rng)))
        return fit, held_out


def _inputs_and_outputs(
    dense: nn.Module, fitted: nn.Module, name: str, images: ImageSet, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Image by image: what a layer of the pruned network reads, and what that of the dense one gives."""
    for inputs, _ in images.batches(BATCH):
        x = torch.from_numpy(inputs).to(device)
        yield from zip(input_of(fitted, name, x), output_of(dense, name, x), strict=True)
