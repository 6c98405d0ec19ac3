"""Curvature: how the loss bends when several filters are scaled at once, sampled by random backward passes.

With J_si = d output_s / d z_i the Gauss-Newton matrix of a sample is ``J^T C J``, C the curvature of the loss at the output. A random
vector r at the output with ``E[r r^T] = C`` gives ``u = J^T r`` by one backward pass, and ``E[u u^T] = J^T C J``: a few such rows per
image are a factor of the whole matrix, across all layers, which is never built.

References:
    Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", Neural Computation, 2002 (Gauss-Newton).
    Hutchinson, "A stochastic estimator of the trace of the influence matrix", 1989 (random signs).
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.calibration.batches import device_batches, first_input
from qprune_cli.calibration.gates import activations_of, dead_of, gate_gradients
from qprune_cli.calibration.gram_factor import Halves
from qprune_cli.calibration.hooks import GateHook, hooked
from qprune_cli.calibration.loss import TEACHER_LOSSES, losses_of
from qprune_cli.calibration.probes import PROBES
from qprune_cli.types import Bools, Floats, ImageSet, Layout


@dataclass(frozen=True)
class Curvature:
    """The loss near a mask: ``L(z + u) = L(z) + gradient . u + 1/2 u^T H u``.

    Attributes:
        gradient: (n,) mean over the images.
        halves: two factors (rows, n) of the even and of the odd images, each with ``F^T F`` an estimate of H.
        dead: (n,) True where the output was exactly 0 everywhere.
    """

    gradient: Floats
    halves: tuple[Floats, Floats]
    dead: Bools

    @property
    def factor(self) -> Floats:
        """(rows, n) factor of the mean of both estimates."""
        factor: Floats = np.concatenate(self.halves) / np.sqrt(sum(len(half) > 0 for half in self.halves))
        return factor

    def agreement(self) -> float:
        """Share of the couplings of one half that the other half confirms, in [0, 1]: the factor by which they fit it best."""
        if not all(len(half) for half in self.halves):
            return 0.0
        a, b = self.halves
        shared = np.square(a @ b.T).sum() - np.square(a).sum(axis=0) @ np.square(b).sum(axis=0)
        alone = sum(np.square(half @ half.T).sum() - np.square(np.square(half).sum(axis=0)).sum() for half in (a, b)) / 2
        return float(np.clip(shared / alone, 0, 1)) if alone > 0 else 0.0


@torch.enable_grad()
def curvature(
    model: nn.Module,
    layout: Layout,
    images: ImageSet,
    loss: str,
    batch: int,
    keep: Bools | None,
    probes: int,
    seed: int,
    teacher: nn.Module | None = None,
) -> Curvature:
    """Run all images forward once and backward ``1 + probes`` times, at a mask; with no probes, gate gradients take their place.

    Args:
        model: the network, in evaluation mode.
        layout: its filters.
        images: calibration images.
        loss: a name of ``LOSSES``.
        batch: images per pass.
        keep: (n,) the mask; None keeps all.
        probes: random vectors per image.
        seed: draws them.
        teacher: network whose outputs the loss is to stay near (see ``TEACHER_LOSSES``); None looks at the targets alone.

    Raises:
        UserError: the loss does not fit the network, or is not finite on an image.
    """
    generator = torch.Generator().manual_seed(seed)
    teacher = copy.deepcopy(model) if teacher is model else teacher  # without the hooks
    gradient, halves, count = np.zeros(layout.n), Halves(layout.n), 0
    with hooked(model, layout, keep, first_input(model, images)) as hooks:
        for inputs, targets in device_batches(model, images, batch, "score"):
            output = model(inputs)
            _losses(loss, output, inputs, targets, teacher).sum().backward(retain_graph=probes > 0)
            first = gate_gradients(layout, hooks)
            gradient += first.sum(axis=0)
            for rows in _probe_rows(layout, hooks, output, targets, loss, probes, generator) if probes else [first]:
                halves.add(rows, count)
            count += len(inputs)
    dead = dead_of([activations_of(group, hooks) for group in layout.groups])
    return Curvature(gradient / count, halves.rows(), dead)


def _losses(loss: str, output: Tensor, inputs: Tensor, targets: Tensor, teacher: nn.Module | None) -> Tensor:
    """(N,) losses of a batch, or those with the teacher's outputs."""
    losses = losses_of(loss, output, targets)  # checks the shapes in either case
    if teacher is None:
        return losses
    with torch.no_grad():
        taught = teacher(inputs)
    return TEACHER_LOSSES[loss](output, targets, taught)


def _probe_rows(
    layout: Layout, hooks: Mapping[str, GateHook], output: Tensor, targets: Tensor, loss: str, probes: int, generator: torch.Generator
) -> list[Floats]:
    """One (N, n) row of the factor per image and probe, by one backward pass each; the last one frees the graph."""
    rows = []
    for probe in range(probes):
        output.backward(PROBES[loss](output.detach(), targets, generator), retain_graph=probe + 1 < probes)
        rows.append(gate_gradients(layout, hooks))
    return rows
