"""A linear probe: what a layer knows of the classes, fitted in closed form."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from qprune_cli.structure.contribution import Contributions
from qprune_cli.structure.pieces import Pieces
from qprune_cli.types import FilterGroup, Floats, Ints

CELLS = 2  # maps are averaged to at most so many cells a side
RIDGE = 1e-2  # relative to the mean square of a feature


def pooled(value: Tensor) -> Tensor:
    """(N, C, H, W) or (N, C) -> (N, C, cells): means over parts of the maps."""
    if value.dim() == 2:
        return value[:, :, None]
    return F.adaptive_avg_pool2d(value, (min(CELLS, value.shape[2]), min(CELLS, value.shape[3]))).flatten(2)


def probed(fitted: Floats, labels: Ints, shown: Floats, classes: int) -> Contributions:
    """Logits of a linear probe as sums of what each filter adds.

    Ridge regression on +1 for the right class and -1 for the others, with a free constant; the filters' features are ``s_i`` times
    what they are, so the logits are linear in the scores.

    Args:
        fitted: (N, C, cells) features that the probe is fitted on.
        labels: (N,) of these.
        shown: (M, C, cells) features of the samples of the program.
        classes: number of classes.
    """
    features = fitted.reshape(len(fitted), -1).astype(np.float64)
    centre = features.mean(axis=0)
    target = 2.0 * (labels[:, None] == np.arange(classes)) - 1
    moments = (features - centre).T @ (features - centre)
    ridge = RIDGE * max(np.trace(moments) / len(moments), 1e-12)
    weights = np.linalg.solve(moments + ridge * np.eye(len(moments)), (features - centre).T @ (target - target.mean(axis=0)))
    constant = target.mean(axis=0) - centre @ weights
    split = weights.reshape(*fitted.shape[1:], classes)
    columns = np.einsum("ncp,cpk->nkc", shown.astype(np.float64), split).reshape(-1, fitted.shape[1])
    base = np.tile(constant, len(shown))
    return Contributions(columns, base, base + columns.sum(axis=1), True)


def pooled_gates(pieces: Pieces, group: FilterGroup) -> Floats:
    """(N, C, cells) features of the gates of a group, before the mask; those of all filters of a variable side by side."""
    found: Floats = torch.cat([pooled(value) for value in pieces.gates(group)], dim=2).double().cpu().numpy()
    return found
