"""Redundancy: which filters of a layer give the same, and how much that weighs against what each is worth alone."""

from collections.abc import Callable

import numpy as np

from qprune_cli.calibration.checks import check_choice
from qprune_cli.calibration.gates import Activations
from qprune_cli.scores import Pairs
from qprune_cli.types import Floats, Layout


def cosine(products: Floats) -> Floats:
    """Turn inner products (m, m) into cosines (m, m); a vector of length 0 has cosine 0 with everything.

    Example:
        >>> cosine(np.array([[4.0, 2.0], [2.0, 1.0]])).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    length = np.sqrt(np.diagonal(products))
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return products * scale[:, None] * scale[None, :]


def _centred(activations: Activations) -> Floats:
    """(channels, channels) correlations; a filter that is constant, up to the accuracy of the sums, has none."""
    means = activations.sums / np.sqrt(activations.positions)[:, None]
    products = activations.products - means.T @ means
    varies = np.diagonal(products) > 1e-6 * np.diagonal(activations.products)
    return np.clip(cosine(products * np.outer(varies, varies)), -1, 1)


# Sums over the activations of a group -> (channels, channels): how alike its filters are.
SIMILARITIES: dict[str, Callable[[Activations], Floats]] = {
    "cosine": lambda activations: cosine(activations.products),
    "centred": _centred,
    "squared": lambda activations: np.square(cosine(activations.products)),
}
# How strongly a pair weighs, before beta: linear terms of a layer (channels,) -> (channels, channels).
SCALES: dict[str, Callable[[Floats], Floats]] = {
    "mean": lambda worth: np.ones((len(worth), len(worth))),
    "worth": lambda worth: np.sqrt(np.outer(np.maximum(worth, 0), np.maximum(worth, 0))),
}


def check_redundancy(similarity: str, scale: str) -> None:
    """Check the settings of a scorer that has redundancy as pairs.

    Raises:
        UserError: no such similarity or scale.
    """
    check_choice("similarity", similarity, SIMILARITIES)
    check_choice("scale", scale, SCALES)


def redundancy_pairs(layout: Layout, similar: list[Floats], worth: Floats, beta: float, scale: str = "mean") -> Pairs:
    r"""Couple the filters of each layer by how alike they are, on the scale of their worth.

    ``Q_ij = beta * s_l * w_ij * max(similar_ij, 0)`` within layer l, with ``w_ij = 1`` (``scale="mean"``) or
    ``sqrt(worth_i worth_j)`` (``scale="worth"``). The factor ``s_l = 2 mean_i worth_i / mean_i sum_j w_ij max(similar_ij, 0)``
    makes beta independent of the width: at beta = 1 the pairs add to the marginal of a filter, when a random half of its
    layer is gone, the mean worth of the layer.

    Args:
        layout: the filters.
        similar: per layer (channels, channels) similarities; the diagonals do not matter.
        worth: (n,) linear terms.
        beta: weight of the pairs; 0 gives none.
        scale: a name of ``SCALES``.
    """
    blocks = []
    for similarities, layer_worth in zip(similar, layout.split(worth).values(), strict=True):
        weighed = np.maximum(similarities, 0) * SCALES[scale](layer_worth)
        np.fill_diagonal(weighed, 0)
        field = weighed.sum(axis=1).mean()
        blocks.append(weighed * (beta * 2 * layer_worth.mean() / field if field > 0 else 0.0))
    return Pairs(tuple(blocks)) if beta else Pairs.none()
