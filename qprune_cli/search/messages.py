"""Sums over all ways to fill a part of a mask, by the number of ones still to come; neither overflows nor vanishes."""

from typing import NamedTuple

import numpy as np

from qprune_cli.types import Floats, Ints

NEVER = -1e30  # logarithm of the weight of what cannot be; finite, so that differences are


class Messages(NamedTuple):
    """Weights of all ways to fill a part of the variables: ``exp(scale) * vector``, for every number of ones still to come.

    Attributes:
        vector: (d, w, r) of largest entry 1; row ``k + 1`` is for ``k`` ones still to come, row 0 for what cannot be.
        scale: (d, w).
    """

    vector: Floats
    scale: Floats

    @staticmethod
    def none(d: int, begins: Ints, rank: int) -> "Messages":
        """Nothing can be, yet."""
        shape = (d, int(begins.max()) + 2)
        return Messages(np.zeros((*shape, rank)), np.full(shape, NEVER))


def behind(matrices: Floats, begins: Ints, taken: int) -> tuple[Messages, Messages]:
    """All ways to fill what is behind each variable, and all ways to fill everything, from the back.

    Args:
        matrices: (d, 2, r, r) of value 0 and 1.
        begins: (d + 1,) ones of the run that begins at a variable, 0 behind the last, -1 where none begins.
        taken: by how much a one lowers the number of ones still to come, 1 or 0.
    """
    found, rank = Messages.none(len(matrices), begins, matrices.shape[-1]), matrices.shape[-1]
    wide = np.concatenate([matrices[:, 0], matrices[:, 1]], axis=1).transpose(0, 2, 1)  # (d, r, 2 r)
    vector: Floats = np.ones(found.vector.shape[1:])
    scale: Floats = np.zeros(found.scale.shape[1])
    for i in reversed(range(len(matrices))):
        if (row := begins[i + 1] + 1) > 0:  # the run ends: no one is still to come
            found.vector[i, 1], found.scale[i, 1] = vector[row], scale[row]
        else:
            found.vector[i], found.scale[i] = vector, scale
        both = found.vector[i] @ wide[i]
        vector, scale = _added(both[:, :rank], found.scale[i], *_shifted(both[:, rank:], found.scale[i], taken))
    return found, Messages(vector[None], scale[None])


def before(matrices: Floats, begins: Ints, taken: int) -> Messages:
    """All ways to fill what is before each variable, from the front; arguments as in ``behind``."""
    found, rank = Messages.none(len(matrices), begins, matrices.shape[-1]), matrices.shape[-1]
    wide = np.concatenate([matrices[:, 0], matrices[:, 1]], axis=2)
    found.vector[0, begins[0] + 1], found.scale[0, begins[0] + 1] = 1, 0
    for i in range(len(matrices) - 1):
        both = found.vector[i] @ wide[i]
        vector, scale = _added(both[:, :rank], found.scale[i], *_shifted(both[:, rank:], found.scale[i], -taken))
        if (row := begins[i + 1] + 1) > 0:
            found.vector[i + 1, row], found.scale[i + 1, row] = vector[1], scale[1]
        else:
            found.vector[i + 1], found.scale[i + 1] = vector, scale
    return found


def _shifted(vector: Floats, scale: Floats, rows: int) -> tuple[Floats, Floats]:
    """Move (w, r) messages to other numbers of ones; what falls off the end is gone."""
    if not rows:
        return vector, scale
    moved, scales = np.zeros_like(vector), np.full_like(scale, NEVER)
    if rows > 0:
        moved[1:], scales[1:] = vector[:-1], scale[:-1]
    else:
        moved[1:-1], scales[1:-1] = vector[2:], scale[2:]
    return moved, scales


def _added(vector: Floats, scale: Floats, other: Floats, others: Floats) -> tuple[Floats, Floats]:
    """The sum of two (w, r) messages, of largest entry 1 again."""
    top = np.maximum(scale, others)
    total = np.exp(scale - top)[:, None] * vector + np.exp(others - top)[:, None] * other
    largest = np.maximum(total.max(axis=1), np.finfo(float).tiny)
    return total / largest[:, None], top + np.log(largest)
