"""Sparsity terms: the cost of scores in a program, and budgets for binary scores."""

import numpy as np

from qprune_cli.problem.budget import Prices
from qprune_cli.program.builder import ProgramBuilder
from qprune_cli.program.network import layers_of
from qprune_cli.types import Floats, Ints

TERMS = ("normalised", "published")
SHIFT = 2.0  # published scores are s - 2


def pay_scores(builder: ProgramBuilder, term: str, scores: Ints, layer_of: Ints, filters: Floats | Ints) -> None:
    """Add the sparsity term to the objective.

    normalised (ours): ``sum_l mean_{i in l} s_i``. published: the ``|A| - 1`` largest of ``sum_{i in l} (s_i - 2) / N_l`` over the
    layers A, of a single layer that one; ``N_l`` counts the taps of a convolution as well.

    Args:
        builder: the program so far.
        term: normalised or published.
        scores: (n,) variables of the scores.
        layer_of: (n,) layer of each score.
        filters: (l,) the numbers N_l.
    """
    layers = layers_of(layer_of)
    if term == "normalised":
        for group in layers:
            builder.add_cost(scores[group], 1 / len(group))
        return
    if len(layers) == 1:
        builder.add_cost(scores, 1 / filters[0])
        builder.constant -= SHIFT * len(scores) / filters[0]
        return
    # The sum of the k largest of t_l is the minimum of k q + sum max(0, t_l - q).
    (level,) = builder.add_variables(np.array([-np.inf]), np.array([np.inf]))
    above = builder.add_variables(np.zeros(len(layers)), np.full(len(layers), np.inf))
    builder.add_cost(np.array([level]), len(layers) - 1.0)
    builder.add_cost(above, 1.0)
    for group, over, count in zip(layers, above, filters, strict=True):
        variables = np.concatenate([[over, level], scores[group]])
        weights = np.concatenate([[1.0, 1.0], np.full(len(group), -1 / count)])
        builder.add_row(variables, weights, -SHIFT * len(group) / count, np.inf)


def keep_exactly(builder: ProgramBuilder, scores: Ints, kept: int) -> None:
    """Require that the (n,) scores sum to ``kept``."""
    builder.add_row(scores, np.ones(len(scores)), kept, kept)


def keep_within(builder: ProgramBuilder, scores: Ints, layer_of: Ints, prices: Prices, limit: float) -> None:
    """Require that the modelled cost is at most ``limit``; the model is quadratic in the counts of filters that layers keep.

    Args:
        builder: the program so far.
        scores: (n,) variables of the scores.
        layer_of: (n,) layer of each score.
        prices: the model of the cost.
        limit: highest modelled cost.
    """
    layers = layers_of(layer_of)
    width = np.array([len(group) for group in layers], float)
    kept = builder.add_variables(np.zeros(len(layers)), width)
    for group, count in zip(layers, kept, strict=True):
        builder.add_row(np.append(scores[group], count), np.append(np.ones(len(group)), -1.0), 0.0, 0.0)
    variables, weights = list(kept), list(prices.linear)
    for a in range(len(layers)):
        for b in range(a + 1):
            weight = prices.cross[a, b] * (0.5 if a == b else 1.0)
            if abs(weight) > 1e-9:
                (product,) = builder.add_variables(np.zeros(1), np.array([width[a] * width[b]]))
                builder.products.append(np.array([product, kept[a], kept[b]]))
                variables.append(product)
                weights.append(weight)
    builder.add_row(np.array(variables), np.array(weights), -np.inf, limit - prices.constant)
