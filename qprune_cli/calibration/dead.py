"""Dead filters come first.

A filter that is exactly 0 on all calibration data costs nothing when it goes, but it also resembles nothing, so a
similarity term alone would rather keep it and drop live filters in its place.
"""

from dataclasses import replace

import numpy as np

from qprune_cli.scores import Scores
from qprune_cli.types import Floats


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
        >>> from qprune_cli.scores import Pairs
        >>> scores = Scores(np.array([2.0, 0.0, 0.0]), Pairs.none(), np.array([False, True, True]))
        >>> dead_first(scores, np.array([1.0, 0.5, 1.0])).linear.tolist()
        [2.0, 0.5, 1.0]
    """
    dead = scores.dead
    if dead is None or dead.all() or not dead.any():
        return scores
    live = ~dead
    relief, _ = scores.pairs.sums(len(scores.linear))
    lowest = float((scores.linear + relief)[live].min())
    rank = 0.5 * norms / max(float(norms[dead].max()), np.finfo(float).tiny)
    step = lowest if lowest > 0 else 1e-3 * float(np.abs(scores.linear[live]).mean()) + np.finfo(float).tiny
    below = lowest - step + step * rank
    return replace(scores, linear=np.where(dead, below, scores.linear))
