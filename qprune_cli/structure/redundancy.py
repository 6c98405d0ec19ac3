"""Redundancy: which filters of a layer say the same thing, and how much that weighs against their own worth."""

import numpy as np

from qprune_cli.scores import Pairs
from qprune_cli.types import Floats, Layout


def cosine(products: Floats) -> Floats:
    """Turn inner products (m, m) into cosines; a vector of length 0 has cosine 0 with everything.

    Example:
        >>> cosine(np.array([[4.0, 2.0], [2.0, 1.0]])).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    length = np.sqrt(np.diagonal(products))
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return products * scale[:, None] * scale[None, :]


def redundancy_pairs(layout: Layout, products: list[Floats], worth: Floats, beta: float) -> Pairs:
    r"""Couple the filters of each layer by the cosine of what they hold, on the scale of their worth.

    ``Q_ij = beta * s_l * max(cos_ij, 0)`` within layer l. The scale ``s_l = 2 mean_i worth_i / mean_i sum_j max(cos_ij, 0)``
    makes beta independent of the width: at beta = 1 the pairs add to the marginal of a filter, when a random half of its
    layer is gone, the mean worth of the layer.

    Args:
        layout: the filters.
        products: per layer (channels, channels) inner products.
        worth: (n,) linear terms.
        beta: weight of the pairs; 0 gives none.
    """
    blocks = []
    for inner, own in zip(products, layout.split(worth).values(), strict=True):
        similar = np.maximum(cosine(inner), 0)
        np.fill_diagonal(similar, 0)
        field = similar.sum(axis=1).mean()
        blocks.append(similar * (beta * 2 * own.mean() / field if field > 0 else 0.0))
    return Pairs(tuple(blocks)) if beta else Pairs.none()
