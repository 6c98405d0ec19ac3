"""Forward and backward messages of a chain of matrices: sums over all ways to fill a part of a mask, by the number of ones still to come.

Every sum has a logarithm of its own as scale, so that it neither overflows nor vanishes.
"""

from typing import NamedTuple

import numpy as np

from qprune_cli.types import Floats, Ints

NEVER = -1e30  # logarithm of the weight of the impossible; finite, so that differences are finite too


class Messages(NamedTuple):
    """Weights of all ways to fill a part of d variables: ``exp(scale) * vector``, for every number of ones still to come.

    Attributes:
        vector: (d, w, r) vectors of largest entry 1; row ``k + 1`` is for ``k`` ones still to come, row 0 for what is impossible.
        scale: (d, w) logarithms of their factors.
    """

    vector: Floats
    scale: Floats

    @staticmethod
    def impossible(d: int, begins: Ints, rank: int) -> "Messages":
        """Make messages of weight 0; ``begins`` (d + 1,) says how many ones there can be."""
        shape = (d, int(begins.max()) + 2)
        return Messages(np.zeros((*shape, rank)), np.full(shape, NEVER))


def backward_messages(matrices: Floats, begins: Ints, decrement: int) -> tuple[Messages, Messages]:
    """The messages from the back: all ways to fill the variables behind each one, and all ways to fill all of them.

    Args:
        matrices: (d, 2, r, r) matrix of each variable for value 0 and for value 1.
        begins: (d + 1,) number of ones of the run that begins at a variable, 0 behind the last one, -1 where none begins.
        decrement: by how much a one lowers the number of ones still to come: 1, or 0 where that number is free.

    Returns:
        (d, w, r) messages behind each variable, and (1, w, r) messages of the whole chain.
    """
    messages, rank = Messages.impossible(len(matrices), begins, matrices.shape[-1]), matrices.shape[-1]
    side_by_side = np.concatenate([matrices[:, 0], matrices[:, 1]], axis=1).transpose(0, 2, 1)  # (d, r, 2 r)
    vector: Floats = np.ones(messages.vector.shape[1:])
    scale: Floats = np.zeros(messages.scale.shape[1])
    for i in reversed(range(len(matrices))):
        if (row := begins[i + 1] + 1) > 0:  # the run ends here: it has no ones still to come
            messages.vector[i, 1], messages.scale[i, 1] = vector[row], scale[row]
        else:
            messages.vector[i], messages.scale[i] = vector, scale
        both = messages.vector[i] @ side_by_side[i]
        vector, scale = _added(both[:, :rank], messages.scale[i], *_shifted(both[:, rank:], messages.scale[i], decrement))
    return messages, Messages(vector[None], scale[None])


def forward_messages(matrices: Floats, begins: Ints, decrement: int) -> Messages:
    """The (d, w, r) messages from the front: all ways to fill the variables before each one; arguments as in ``backward_messages``."""
    messages, rank = Messages.impossible(len(matrices), begins, matrices.shape[-1]), matrices.shape[-1]
    side_by_side = np.concatenate([matrices[:, 0], matrices[:, 1]], axis=2)
    messages.vector[0, begins[0] + 1], messages.scale[0, begins[0] + 1] = 1, 0
    for i in range(len(matrices) - 1):
        both = messages.vector[i] @ side_by_side[i]
        vector, scale = _added(both[:, :rank], messages.scale[i], *_shifted(both[:, rank:], messages.scale[i], -decrement))
        if (row := begins[i + 1] + 1) > 0:
            messages.vector[i + 1, row], messages.scale[i + 1, row] = vector[1], scale[1]
        else:
            messages.vector[i + 1], messages.scale[i + 1] = vector, scale
    return messages


def _shifted(vector: Floats, scale: Floats, rows: int) -> tuple[Floats, Floats]:
    """Move (w, r) messages to other numbers of ones still to come; numbers out of range are lost."""
    if not rows:
        return vector, scale
    moved, scales = np.zeros_like(vector), np.full_like(scale, NEVER)
    if rows > 0:
        moved[1:], scales[1:] = vector[:-1], scale[:-1]
    else:
        moved[1:-1], scales[1:-1] = vector[2:], scale[2:]
    return moved, scales


def _added(vector: Floats, scale: Floats, other_vector: Floats, other_scale: Floats) -> tuple[Floats, Floats]:
    """The sum of two (w, r) messages with (w,) scales, scaled to a largest entry of 1 again."""
    top = np.maximum(scale, other_scale)
    total = np.exp(scale - top)[:, None] * vector + np.exp(other_scale - top)[:, None] * other_vector
    largest = np.maximum(total.max(axis=1), np.finfo(float).tiny)
    return total / largest[:, None], top + np.log(largest)
