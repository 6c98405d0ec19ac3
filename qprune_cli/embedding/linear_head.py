"""Linear heads behind a layer, in closed form: a probe, or the rest of the network as its tangent."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qprune_cli.calibration.batches import device_batches, first_input
from qprune_cli.calibration.gates import gate_gradients
from qprune_cli.calibration.hooks import hooked
from qprune_cli.embedding.contribution import Contributions
from qprune_cli.embedding.masked_run import MaskedRun
from qprune_cli.types import Bools, FilterGroup, Floats, ImageSet, Ints, Layout

CELLS = 2  # maps are averaged to at most so many cells a side
RIDGE = 1e-2  # relative to the mean square of a feature


def pooled(value: Tensor) -> Tensor:
    """(N, C, H, W) or (N, C) -> (N, C, cells): means over parts of the maps."""
    if value.dim() == 2:
        return value[:, :, None]
    return F.adaptive_avg_pool2d(value, (min(CELLS, value.shape[2]), min(CELLS, value.shape[3]))).flatten(2)


def pooled_gates(run: MaskedRun, group: FilterGroup) -> Floats:
    """(N, channels, cells) features of the gates of a group, before the mask; those of all filters of a variable side by side."""
    features: Floats = torch.cat([pooled(value) for value in run.group_values(group)], dim=2).double().cpu().numpy()
    return features


def probe_contributions(fitted: Floats, fitted_labels: Ints, samples: Floats, labels: Ints, classes: int) -> Contributions:
    """Logits of a linear probe as sums of what each filter adds.

    Ridge regression on +1 for the right class and -1 for the others, with a free constant; the filters' features are ``s_i`` times
    what they are, so the logits are linear in the scores.

    Args:
        fitted: (N, C, cells) features that the probe is fitted on.
        fitted_labels: (N,) labels of these.
        samples: (M, C, cells) features of the samples of the program.
        labels: (M,) labels of these.
        classes: number of classes.
    """
    weights, constant = _probe(fitted.reshape(len(fitted), -1).astype(np.float64), fitted_labels, classes)
    split = weights.reshape(*fitted.shape[1:], classes)
    columns = np.einsum("ncp,cpk->nkc", samples.astype(np.float64), split).reshape(-1, fitted.shape[1])
    return Contributions(columns, np.tile(constant, len(samples)), labels)


def _probe(features: Floats, labels: Ints, classes: int) -> tuple[Floats, Floats]:
    """(features, classes) weights and (classes,) constant of a ridge regression on (N, features)."""
    centre = features.mean(axis=0)
    targets = 2.0 * (labels[:, None] == np.arange(classes)) - 1
    moments = (features - centre).T @ (features - centre)
    ridge = RIDGE * max(np.trace(moments) / len(moments), 1e-12)
    weights = np.linalg.solve(moments + ridge * np.eye(len(moments)), (features - centre).T @ (targets - targets.mean(axis=0)))
    return weights, targets.mean(axis=0) - centre @ weights


@torch.enable_grad()
def tangents(model: nn.Module, layout: Layout, images: ImageSet, keep: Bools | None) -> tuple[Floats, Floats]:
    """The gradient of each logit with respect to each gate: ``V_sci = d logit_sc / d z_i``.

    So ``logit + sum_i (s_i - z_i) V_i`` is the network to first order.

    Args:
        model: a classifier, in evaluation mode.
        layout: its filters.
        images: the samples.
        keep: (n,) mask z; None keeps all.

    Returns:
        (N, classes, n) and the logits, (N, classes).
    """
    with hooked(model, layout, keep, first_input(model, images)) as hooks:
        rows, logits = [], []
        for inputs, _ in device_batches(model, images, len(images), "tangents"):
            output = model(inputs)
            for c in range(output.shape[1]):
                output[:, c].sum().backward(retain_graph=c + 1 < output.shape[1])
                rows.append(gate_gradients(layout, hooks))
            logits.append(output.detach().double().cpu().numpy())
    return np.stack(rows, axis=1), np.concatenate(logits)


def tangent_contributions(layout: Layout, slopes: Floats, logits: Floats, labels: Ints, keep: Bools | None) -> Iterator[Contributions]:
    """For each group of a layout: the logits to first order in its scores.

    Args:
        layout: the filters.
        slopes: (N, classes, n) (see ``tangents``).
        logits: (N, classes) at the mask.
        labels: (N,) of the samples.
        keep: (n,) mask; None keeps all.
    """
    kept = np.ones(layout.n, bool) if keep is None else keep
    flat = slopes.reshape(-1, layout.n)
    for k in range(len(layout.groups)):
        in_group = layout.layer_of == k
        yield Contributions(flat[:, in_group], logits.reshape(-1) - flat[:, in_group & kept].sum(axis=1), labels)
