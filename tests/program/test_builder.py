"""Programs that are being written: rows, costs and bounds."""

import pickle

import numpy as np
import pytest
from scipy import sparse

from qprune_cli.program.affine import Affine, wide
from qprune_cli.program.builder import ProgramBuilder


def test_rows_hold_what_was_asked_for():
    builder = ProgramBuilder()
    first = builder.add_variables(np.zeros(2), np.ones(2))
    value = builder.linear_map([sparse.csr_matrix([[2.0, 0.0], [1.0, -1.0]])], [builder.affine(first)], np.array([5.0, -1.0]))
    second = builder.add_variables(np.zeros(2), np.ones(2))
    builder.add_rows([(second, 1.0), (value, np.array([-1.0, 3.0]))], 0.0, np.array([7.0, np.inf]))
    builder.add_row(np.array([0, 3]), np.array([1.0, 4.0]), -1.0, 2.0)
    program = builder.build(first, value)
    # s_0 - (2 a_0 + 5) in [0, 7]; s_1 + 3 (a_0 - a_1 - 1) >= 0; a_0 + 4 s_1 in [-1, 2]
    assert np.array_equal(program.rows.toarray(), [[-2, 0, 1, 0], [3, -3, 0, 1], [1, 0, 0, 4]])
    assert program.low.tolist() == [5, 3, -1] and program.high.tolist() == [12, np.inf, 2]


def test_prices_of_one_variable_add_up():
    builder = ProgramBuilder()
    variables = builder.add_variables(np.zeros(2), np.ones(2))
    builder.add_cost(variables, 1.0)
    builder.add_cost(np.array([1, 1]), np.array([2.0, 3.0]))
    assert builder.build(variables, builder.affine(variables)).cost.tolist() == [1, 6]


def test_bounds_of_a_map_are_those_at_its_corners():
    rng = np.random.default_rng(0)
    builder = ProgramBuilder()
    low, high = np.sort(rng.normal(size=(2, 4)), axis=0)
    matrix, shift = rng.normal(size=(3, 4)), rng.normal(size=3)
    value = builder.linear_map([sparse.csr_matrix(matrix)], [builder.affine(builder.add_variables(low, high))], shift)
    corners = np.where((np.arange(16)[:, None] >> np.arange(4) & 1).astype(bool), high, low) @ matrix.T + shift
    assert np.allclose(value.low, corners.min(axis=0)) and np.allclose(value.high, corners.max(axis=0))
    assert np.allclose(builder.bounds(value), (value.low, value.high))


def test_values_with_names_are_the_same_values():
    builder = ProgramBuilder()
    variables = builder.add_variables(np.zeros(3), np.ones(3))
    matrix = sparse.csr_matrix([[1.0, 2.0, 0], [0, 3.0, 0], [0, 0, 0]])
    value = builder.linear_map([matrix], [builder.affine(variables)], np.array([1.0, 2.0, 3.0]))
    named = builder.as_variables(value)
    assert builder.count == 4 and np.array_equal(named.matrix.toarray(), [[0, 0, 0, 1], [0, 3, 0, 0], [0, 0, 0, 0]])
    program = builder.build(variables, named)
    x = np.array([0.5, 0.25, 1.0, 0.0])
    x[3] = 0.5 + 2 * 0.25 + 1
    assert np.allclose(program.rows @ x, program.low) and np.allclose(program.low, program.high)
    assert np.allclose(program.outputs_of(x), matrix @ x[:3] + [1, 2, 3])


def test_dense_maps_behind_one_another_do_not_multiply_their_entries():
    rng = np.random.default_rng(0)
    builder = ProgramBuilder()
    value = builder.affine(builder.add_variables(np.zeros(40), np.ones(40)))
    narrow, broad = sparse.csr_matrix(rng.normal(size=(2, 40))), sparse.csr_matrix(rng.normal(size=(40, 2)))
    behind = builder.linear_map([broad], [builder.linear_map([narrow], [value], np.zeros(2))], np.zeros(40))
    assert builder.count == 42 and behind.matrix.nnz == 80


def test_fixed_numbers_hold_no_variables():
    value = Affine.fixed(np.array([1.0, 2.0]), slack=0.5)
    assert value.is_fixed.all() and value.low.tolist() == [0.5, 1.5] and value.high.tolist() == [1.5, 2.5] and len(value) == 2
    assert value.at(np.array([1])).constant.tolist() == [2.0]


def test_rows_since_a_mark_are_a_part_of_the_program():
    builder = ProgramBuilder()
    variables = builder.add_variables(np.zeros(2), np.ones(2))
    builder.add_row(variables, np.ones(2), 0, 1)
    mark = builder.mark()
    builder.add_row(variables, np.array([1.0, -1.0]), 0, 0)
    assert builder.build(variables, builder.affine(variables), mark).rows.toarray().tolist() == [[1, -1]]
    assert builder.build(variables, builder.affine(variables)).rows.shape == (2, 2)


def test_program_travels_and_can_be_fixed_and_relaxed():
    builder = ProgramBuilder()
    variables = builder.add_variables(np.zeros(2), np.ones(2), integer=True)
    program = pickle.loads(pickle.dumps(builder.build(variables, builder.affine(variables))))
    fixed = program.at(np.array([0.0, 1.0]))
    assert fixed.lower.tolist() == fixed.upper.tolist() == [0, 1] and program.upper.tolist() == [1, 1]
    assert program.integer.all() and not program.relaxed().integer.any()
    assert fixed.outputs_of(np.array([0.0, 1.0])) == pytest.approx([0, 1])


def test_wider_rows_are_the_same_rows():
    assert wide(sparse.csr_matrix([[1.0, 2.0]]), 4).toarray().tolist() == [[1, 2, 0, 0]]
