"""Curvature: how the loss bends when several filters are scaled at once, sampled by random backward passes.

With J_si = d output_s / d z_i the Gauss-Newton matrix of a sample is ``J^T C J``, C the curvature of the loss at the output. A random
vector r at the output with ``E[r r^T] = C`` gives ``u = J^T r`` by one backward pass, and ``E[u u^T] = J^T C J``: a few such rows per
image are a factor of the whole matrix, across all layers, which is never built.

References:
    Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", Neural Computation, 2002 (Gauss-Newton).
    Hutchinson, "A stochastic estimator of the trace of the influence matrix", 1989 (random signs).
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from qprune_cli.calibration.factor import Halves
from qprune_cli.calibration.feed import example_of, fed
from qprune_cli.calibration.gates import activations_of, answers_of, dead_of
from qprune_cli.calibration.loss import PROBES, TAUGHT, losses_of
from qprune_cli.calibration.tap import tapped
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
        found: Floats = np.concatenate(self.halves) / np.sqrt(sum(len(half) > 0 for half in self.halves))
        return found

    def agreement(self) -> float:
        """Share of the couplings of one half that the other half confirms, in [0, 1]: the factor by which they fit it best."""
        if not all(len(half) for half in self.halves):
            return 0.0
        a, b = self.halves
        shared = np.square(a @ b.T).sum() - np.square(a).sum(axis=0) @ np.square(b).sum(axis=0)
        own = sum(np.square(half @ half.T).sum() - np.square(np.square(half).sum(axis=0)).sum() for half in (a, b)) / 2
        return float(np.clip(shared / own, 0, 1)) if own > 0 else 0.0


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
        teacher: whose outputs the loss is to stay near (see ``TAUGHT``); None looks at the clean images or labels alone.

    Raises:
        UserError: the loss does not fit the network, or is not finite on an image.
    """
    generator = torch.Generator().manual_seed(seed)
    teacher = copy.deepcopy(model) if teacher is model else teacher  # the taps of the one are not to see the other
    gradient, halves, seen = np.zeros(layout.n), Halves(layout.n), 0
    with tapped(model, layout, keep, example_of(model, images)) as taps:
        for noisy, target in fed(model, images, batch, "score"):
            output = model(noisy)
            losses = losses_of(loss, output, target)
            if teacher is not None:
                with torch.no_grad():
                    taught = teacher(noisy)
                losses = TAUGHT[loss](output, target, taught)
            losses.sum().backward(retain_graph=probes > 0)
            answers = [answers_of(layout, taps)]
            gradient += answers[0].sum(axis=0)
            for probe in range(probes):
                output.backward(PROBES[loss](output.detach(), target, generator), retain_graph=probe + 1 < probes)
                answers.append(answers_of(layout, taps))
            for rows in answers[1:] or answers:
                halves.add(rows, seen)
            seen += len(noisy)
    dead = dead_of([activations_of(group, taps) for group in layout.groups])
    return Curvature(gradient / seen, halves.rows(), dead)
