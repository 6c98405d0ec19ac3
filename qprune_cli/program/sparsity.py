"""What a program pays for scores, and budgets for binary ones."""

import numpy as np

from qprune_cli.problem.budget import Prices
from qprune_cli.program.draft import Draft
from qprune_cli.program.network import layers_of
from qprune_cli.types import Floats, Ints

TERMS = ("normalised", "published")
SHIFT = 2.0  # published scores are s - 2


def pay_scores(draft: Draft, term: str, scores: Ints, layer_of: Ints, filters: Floats | Ints) -> None:
    """The sparsity term.

    normalised (ours): ``sum_l mean_{i in l} s_i``. published: the ``|A| - 1`` largest of ``sum_{i in l} (s_i - 2) / N_l`` over the
    layers A, of a single layer that one; ``N_l`` counts the taps of a convolution as well.

    Args:
        draft: the program so far.
        term: normalised or published.
        scores: (n,) variables.
        layer_of: (n,) layer of each.
        filters: (l,) N_l.
    """
    layers = layers_of(layer_of)
    if term == "normalised":
        for own in layers:
            draft.pay(scores[own], 1 / len(own))
        return
    if len(layers) == 1:
        draft.pay(scores, 1 / filters[0])
        draft.constant -= SHIFT * len(scores) / filters[0]
        return
    # The sum of the k largest of t_l is the minimum of k q + sum max(0, t_l - q).
    (level,) = draft.variables(np.array([-np.inf]), np.array([np.inf]))
    above = draft.variables(np.zeros(len(layers)), np.full(len(layers), np.inf))
    draft.pay(np.array([level]), len(layers) - 1.0)
    draft.pay(above, 1.0)
    for own, over, count in zip(layers, above, filters, strict=True):
        places = np.concatenate([[over, level], scores[own]])
        weights = np.concatenate([[1.0, 1.0], np.full(len(own), -1 / count)])
        draft.total(places, weights, -SHIFT * len(own) / count, np.inf)


def keep_exactly(draft: Draft, scores: Ints, kept: int) -> None:
    """``sum s = kept``."""
    draft.total(scores, np.ones(len(scores)), kept, kept)


def keep_within(draft: Draft, scores: Ints, layer_of: Ints, prices: Prices, limit: float) -> None:
    """At most so much is spent, by a model of the cost that is quadratic in the numbers of filters that layers keep."""
    layers = layers_of(layer_of)
    width = np.array([len(own) for own in layers], float)
    kept = draft.variables(np.zeros(len(layers)), width)
    for own, count in zip(layers, kept, strict=True):
        draft.total(np.append(scores[own], count), np.append(np.ones(len(own)), -1.0), 0.0, 0.0)
    places, weights = list(kept), list(prices.linear)
    for a in range(len(layers)):
        for b in range(a + 1):
            weight = prices.cross[a, b] * (0.5 if a == b else 1.0)
            if abs(weight) > 1e-9:
                (product,) = draft.variables(np.zeros(1), np.array([width[a] * width[b]]))
                draft.products.append(np.array([product, kept[a], kept[b]]))
                places.append(product)
                weights.append(weight)
    draft.total(np.array(places), np.array(weights), -np.inf, limit - prices.constant)
