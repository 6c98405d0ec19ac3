"""Linear heads behind a layer, in closed form: a probe, or the rest of the network as its tangent."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qprune_cli.calibration.feed import example_of, fed
from qprune_cli.calibration.gates import answers_of
from qprune_cli.calibration.tap import tapped
from qprune_cli.embedding.contribution import Contributions
from qprune_cli.embedding.pieces import Pieces
from qprune_cli.types import Bools, FilterGroup, Floats, ImageSet, Ints, Layout

CELLS = 2  # maps are averaged to at most so many cells a side
RIDGE = 1e-2  # relative to the mean square of a feature


def pooled(value: Tensor) -> Tensor:
    """(N, C, H, W) or (N, C) -> (N, C, cells): means over parts of the maps."""
    if value.dim() == 2:
        return value[:, :, None]
    return F.adaptive_avg_pool2d(value, (min(CELLS, value.shape[2]), min(CELLS, value.shape[3]))).flatten(2)


def probed(fitted: Floats, known: Ints, shown: Floats, labels: Ints, classes: int) -> Contributions:
    """Logits of a linear probe as sums of what each filter adds.

    Ridge regression on +1 for the right class and -1 for the others, with a free constant; the filters' features are ``s_i`` times
    what they are, so the logits are linear in the scores.

    Args:
        fitted: (N, C, cells) features that the probe is fitted on.
        known: (N,) labels of these.
        shown: (M, C, cells) features of the samples of the program.
        labels: (M,) of these.
        classes: number of classes.
    """
    features = fitted.reshape(len(fitted), -1).astype(np.float64)
    centre = features.mean(axis=0)
    target = 2.0 * (known[:, None] == np.arange(classes)) - 1
    moments = (features - centre).T @ (features - centre)
    ridge = RIDGE * max(np.trace(moments) / len(moments), 1e-12)
    weights = np.linalg.solve(moments + ridge * np.eye(len(moments)), (features - centre).T @ (target - target.mean(axis=0)))
    constant = target.mean(axis=0) - centre @ weights
    split = weights.reshape(*fitted.shape[1:], classes)
    columns = np.einsum("ncp,cpk->nkc", shown.astype(np.float64), split).reshape(-1, fitted.shape[1])
    base = np.tile(constant, len(shown))
    return Contributions(columns, base, labels)


def pooled_gates(pieces: Pieces, group: FilterGroup) -> Floats:
    """(N, C, cells) features of the gates of a group, before the mask; those of all filters of a variable side by side."""
    found: Floats = torch.cat([pooled(value) for value in pieces.gates(group)], dim=2).double().cpu().numpy()
    return found


@torch.enable_grad()
def tangents(model: nn.Module, layout: Layout, images: ImageSet, keep: Bools | None) -> tuple[Floats, Floats]:
    """How each logit answers to each gate: ``V_sci = d logit_sc / d z_i``.

    So ``logit + sum_i (s_i - z_i) V_i`` is the network to first order.

    Args:
        model: a classifier, in evaluation mode.
        layout: its filters.
        images: the samples.
        keep: (n,) mask z; None keeps all.

    Returns:
        (N, classes, n) and the logits, (N, classes).
    """
    with tapped(model, layout, keep, example_of(model, images)) as taps:
        rows, logits = [], []
        for x, _ in fed(model, images, len(images), "tangents"):
            output = model(x)
            for c in range(output.shape[1]):
                output[:, c].sum().backward(retain_graph=c + 1 < output.shape[1])
                rows.append(answers_of(layout, taps))
            logits.append(output.detach().double().cpu().numpy())
    return np.stack(rows, axis=1), np.concatenate(logits)


def tangent_contributions(layout: Layout, slopes: Floats, logits: Floats, labels: Ints, keep: Bools | None) -> Iterator[Contributions]:
    """For each group of a layout: the logits to first order in its scores.

    Args:
        layout: the filters.
        slopes: (N, classes, n) (see ``tangents``).
        logits: (N, classes) at the mask.
        labels: (N,)
        keep: (n,) mask; None keeps all.
    """
    kept = np.ones(layout.n, bool) if keep is None else keep
    flat = slopes.reshape(-1, layout.n)
    for k in range(len(layout.groups)):
        own = layout.layer_of == k
        yield Contributions(flat[:, own], logits.reshape(-1) - flat[:, own & kept].sum(axis=1), labels)
