"""Dead filters come first, where filters are chosen to go.

A filter that is exactly 0 on all calibration data costs nothing when it goes, but it also resembles nothing, so a
similarity term alone would rather keep it and drop live filters in its place.
"""

from dataclasses import replace

import numpy as np
from torch import nn

from qprune_cli.calibration.weights import weight_norms
from qprune_cli.scores import Pairs, Scores
from qprune_cli.types import Bools, Floats, Layout


def dead_first(scores: Scores, norms: Floats) -> Scores:
    """Rank every dead filter below every live one, among themselves by weight norm.

    The linear term of a dead filter becomes smaller than the smallest marginal that any live filter can have, so in
    every optimum under a count the dead filters go first (as far as the floors allow). Among dead filters those with
    larger weights stay: they may live on other images.

    Args:
        scores: the scores; pairs with a dead filter must weigh 0.
        norms: (n,) weight norms.

    Returns:
        Scores with the linear terms of the dead filters replaced; live ones are untouched.

    Example:
        >>> scores = Scores(np.array([2.0, 0.0, 0.0]), Pairs.none(), np.array([False, True, True]))
        >>> dead_first(scores, np.array([1.0, 0.5, 1.0])).linear.tolist()
        [2.0, 0.5, 1.0]
    """
    dead = scores.dead
    if dead is None or dead.all() or not dead.any():
        return scores
    live = ~dead
    negative, _ = scores.pairs.sums(len(scores.linear))
    lowest = float((scores.linear + negative)[live].min())
    rank = 0.5 * norms / max(float(norms[dead].max()), np.finfo(float).tiny)
    step = lowest if lowest > 0 else 1e-3 * float(np.abs(scores.linear[live]).mean()) + np.finfo(float).tiny
    below = lowest - step + step * rank
    return replace(scores, linear=np.where(dead, below, scores.linear))


def linear_scores(model: nn.Module, layout: Layout, linear: Floats, dead: Bools) -> Scores:
    """Scores without couplings, dead filters first (see ``dead_first``).

    Args:
        model: the network, for the weight norms.
        layout: its filters.
        linear: (n,) linear terms.
        dead: (n,) True where the output was exactly 0 everywhere.
    """
    return dead_first(Scores(linear, Pairs.none(), dead), weight_norms(model, layout))
