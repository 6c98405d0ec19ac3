"""Maxima over windows as rows of a program."""

import numpy as np

from qprune_cli.program.affine import Affine
from qprune_cli.program.assembler import AffineAssembler
from qprune_cli.program.builder import ProgramBuilder
from qprune_cli.types import Floats, Ints


def largest(builder: ProgramBuilder, value: Affine, windows: Ints, binary: bool) -> Affine:
    """Add maxima over windows; where one entry is never smaller than the others it is the maximum, and needs no choice.

    Args:
        builder: the program so far.
        value: (m,) values that are read.
        windows: (outputs, k) numbers of the entries of each window, -1 for none.
        binary: whether the choice of the largest entry is binary; relaxed otherwise.

    Returns:
        (outputs,) maxima.
    """
    result = AffineAssembler(len(windows))
    low, high = np.append(value.low, -np.inf)[windows], np.append(value.high, -np.inf)[windows]
    floor = low.max(axis=1)
    winner = np.where(low == floor[:, None], high, -np.inf).argmax(axis=1)
    candidates = (windows >= 0) & (high > floor[:, None])
    candidates[np.arange(len(windows)), winner] = True
    score, factor = _multiples(value)
    for k, window in enumerate(windows):
        entries = window[candidates[k]]
        if len(entries) == 1:
            result.set_entry(k, value, int(entries[0]))
        elif score[entries[0]] >= 0 and (score[entries] == score[entries[0]]).all():  # c_i s: the largest c is the maximum
            result.set_entry(k, value, int(entries[factor[entries].argmax()]))
        else:
            _choose(builder, result, k, value.at(entries), floor[k], binary)
    return result.build(builder.count)


def _choose(builder: ProgramBuilder, result: AffineAssembler, k: int, part: Affine, floor: float, binary: bool) -> None:
    """Add the maximum of several entries any of which may be the largest, and set it as entry k of the result."""
    (variable,) = builder.add_variables(np.array([floor]), np.array([part.high.max()]))
    chosen = builder.add_variables(np.zeros(len(part)), np.ones(len(part)), binary)
    most = np.array([np.delete(part.high, i).max() for i in range(len(part))])
    repeated = np.full(len(part), variable)
    builder.add_rows([(repeated, 1.0), (part, -1.0)], 0.0, np.inf)
    reach = np.maximum(most - part.low, 0)
    builder.add_rows([(repeated, 1.0), (part, -1.0), (chosen, reach)], -np.inf, reach)
    builder.add_row(chosen, np.ones(len(chosen)), 1.0, 1.0)
    result.set_variables(np.array([k]), np.array([variable]), np.array([floor]), np.array([part.high.max()]))


def _multiples(value: Affine) -> tuple[Ints, Floats]:
    """(m,) the variable that an entry is a positive multiple of, -1 where it is anything else; (m,) the factor."""
    one = np.flatnonzero((np.diff(value.matrix.indptr) == 1) & (value.constant == 0))
    starts = value.matrix.indptr[one]
    score, factor = np.full(len(value), -1), np.zeros(len(value))
    score[one], factor[one] = value.matrix.indices[starts], value.matrix.data[starts]
    score[factor <= 0] = -1
    return score, factor
