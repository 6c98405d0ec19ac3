"""Rows of gates admit what they are to admit, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from qprune_cli.program import gate as gates
from qprune_cli.program.affine import Affine
from qprune_cli.program.builder import ProgramBuilder
from qprune_cli.program.maximum import largest
from qprune_cli.program.solve import solve


def read_through(low, high):
    """A builder with one score and one variable within bounds, and that variable as an affine vector."""
    builder = ProgramBuilder()
    score, variable = builder.add_variables(np.array([0.0]), np.array([1.0])), builder.add_variables(np.array([low]), np.array([high]))
    return builder, score, builder.affine(variable)


def admitted(program, fixed, place):
    """Least and most of one variable in a program, with others fixed; None where there is nothing. By the rows alone."""
    x = np.zeros(len(program.cost))
    low, high = program.lower[place], program.upper[place]
    for where, value in fixed.items():
        x[where] = value
        if not program.lower[where] - 1e-9 <= value <= program.upper[where] + 1e-9:
            return None
    weights = program.rows[:, [place]].toarray()[:, 0]
    rest = program.rows @ np.where(np.arange(len(x)) == place, 0, x)
    for weight, least, most in zip(weights, program.low - rest, program.high - rest, strict=True):
        if weight == 0:
            if least > 1e-9 or most < -1e-9:
                return None
            continue
        ends = sorted((least / weight, most / weight))
        low, high = max(low, ends[0]), min(high, ends[1])
    return None if low > high + 1e-9 else (low, high)


def relu_of(low, high, published=False, gated=True):
    """The program of one gated ReLU; its variables: score, a, then those of states and of the result; the number of that of the result."""
    builder, score, value = read_through(low, high)
    result = gates.relu(builder, value, score if gated else None, True, published)
    return builder.build(score, result), result


def values_admitted(program, result, s, a):
    """All that a gate may give: an interval for each choice of states."""
    if not result.matrix.nnz:
        return [(result.constant[0], result.constant[0])]
    (place,) = result.matrix.indices
    if place == 1:  # a itself
        return [(a, a)]
    states = [k for k in range(2, len(program.cost)) if k != place]
    assert len(states) <= 1
    choices = [{states[0]: z} for z in (0.0, 1.0)] if states else [{}]
    intervals = [admitted(program, {0: s, 1: a} | choice, place) for choice in choices]
    return [interval for interval in intervals if interval is not None]


def cases(count=60):
    rng = np.random.default_rng(0)
    for _ in range(count):
        low, high = np.sort(rng.normal(size=2))
        yield low, high, rng.uniform(low, high)


@pytest.mark.parametrize("s", [0.0, 1.0])
def test_valid_rows_admit_exactly_the_gated_relu(s):
    for low, high, a in cases():
        program, result = relu_of(low, high)
        intervals = values_admitted(program, result, s, a)
        assert intervals
        assert np.allclose(intervals, s * max(a, 0), atol=1e-8), (low, high, a)
        assert result.low[0] <= s * max(a, 0) + 1e-9 and s * max(a, 0) <= result.high[0] + 1e-9


def test_relu_without_a_gate_is_admitted_exactly():
    for low, high, a in cases():
        program, result = relu_of(low, high, gated=False)
        assert np.allclose(values_admitted(program, result, 1.0, a), max(a, 0), atol=1e-8)


def test_scores_between_leave_room_for_the_scaled_relu():
    for low, high, a in cases():
        program, result = relu_of(low, high)
        for s in (0.2, 0.7):
            intervals = values_admitted(program, result, s, a)
            assert any(least - 1e-9 <= s * max(a, 0) <= most + 1e-9 for least, most in intervals)


def test_published_rows_at_one_are_the_relu():
    for low, high, a in cases():
        program, result = relu_of(low, high, published=True)
        intervals = published_values(program, result, 1.0, a)
        assert intervals and np.allclose(intervals, max(a, 0), atol=1e-8)


def published_values(program, result, s, a):
    (place,) = result.matrix.indices
    (state,) = [k for k in range(2, len(program.cost)) if k != place]
    intervals = [admitted(program, {0: s, 1: a, state: z}, place) for z in (0.0, 1.0)]
    return [interval for interval in intervals if interval is not None]


def test_published_gate_cannot_silence_an_active_unit_and_the_valid_one_can():
    rng = np.random.default_rng(1)
    for _ in range(10):
        low, high = np.sort(rng.uniform(0.1, 2, size=2))
        a = rng.uniform(low, high)
        least = []
        for published in (True, False):
            program, _ = relu_of(low, high, published)
            lower, upper, cost = program.lower.copy(), program.upper.copy(), np.zeros(len(program.cost))
            lower[1] = upper[1] = a
            cost[0] = 1.0
            least.append(solve(replace(program, lower=lower, upper=upper, cost=cost), 10).objective)
        assert least[0] == pytest.approx(1 - a / high, abs=1e-6) and least[1] == pytest.approx(0, abs=1e-9)


def test_published_gate_of_an_active_unit_subtracts_instead_of_scaling():
    program, result = relu_of(0.5, 2.0, published=True)
    assert np.allclose(published_values(program, result, 0.75, 1.5), 1.5 - 0.25 * 2.0)


@pytest.mark.parametrize("s", [0.0, 1.0])
def test_gate_without_a_relu_is_exact_for_binary_scores(s):
    for low, high, a in cases():
        builder, score, value = read_through(low, high)
        result = gates.gate(builder, value, score, published=False)
        program = builder.build(score, result)
        interval = admitted(program, {0: s, 1: a}, result.matrix.indices[0])
        assert np.allclose(interval, s * a, atol=1e-8)
        assert result.low[0] - 1e-9 <= s * a <= result.high[0] + 1e-9


def test_gate_without_a_relu_leaves_room_for_the_product():
    for low, high, a in cases():
        builder, score, value = read_through(low, high)
        result = gates.gate(builder, value, score, published=False)
        least, most = admitted(builder.build(score, result), {0: 0.4, 1: a}, result.matrix.indices[0])
        assert least - 1e-9 <= 0.4 * a <= most + 1e-9


def test_published_gate_without_a_relu_subtracts_its_bound():
    builder, score, value = read_through(-1.0, 2.0)
    result = gates.gate(builder, value, score, published=True)
    interval = admitted(builder.build(score, result), {0: 0.25, 1: 0.5}, result.matrix.indices[0])
    assert np.allclose(interval, 0.5 - 0.75 * 2.0)


def test_stable_units_get_no_state_and_fixed_ones_no_variable():
    for low, high, extra in ((0.2, 1.0, 1), (-1.0, -0.2, 0), (-1.0, 1.0, 2)):
        builder, score, value = read_through(low, high)
        gates.relu(builder, value, score, True, False)
        assert builder.count == 2 + extra
    builder = ProgramBuilder()
    scores = builder.add_variables(np.zeros(3), np.ones(3))
    result = gates.relu(builder, Affine.fixed(np.array([0.5, -0.5, 2.0])), np.array([scores[0], scores[1], -1]), True, False)
    assert builder.count == 3 and result.matrix.toarray().tolist() == [[0.5, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert result.constant.tolist() == [0, 0, 2.0]


def test_stable_active_unit_without_a_gate_is_what_it_reads():
    builder, _, value = read_through(0.2, 1.0)
    result = gates.relu(builder, value, None, True, False)
    assert builder.count == 2 and result.matrix.indices.tolist() == [1]


def test_relaxed_states_are_no_integers():
    for binary in (True, False):
        builder, score, value = read_through(-1.0, 1.0)
        result = gates.relu(builder, value, score, binary, False)
        assert builder.build(score, result).integer.sum() == binary


def random_value(rng, variables, entries, density=0.7):
    """A builder of bounded variables and affine functions of them."""
    builder = ProgramBuilder()
    low, high = np.sort(rng.normal(size=(2, variables)), axis=0)
    places = builder.add_variables(low, high)
    matrix = sparse.csr_matrix(np.where(rng.random((entries, variables)) < density, rng.normal(size=(entries, variables)), 0))
    value = builder.linear_map([matrix], [builder.affine(places)], rng.normal(size=entries))
    return builder, places, value


def test_largest_equals_the_maximum_at_every_point():
    rng = np.random.default_rng(2)
    windows = np.array([[0, 1, 2], [3, -1, -1], [2, 4, -1], [0, 1, 4]])
    for _ in range(8):
        builder, places, value = random_value(rng, 4, 5)
        result = largest(builder, value, windows, True)
        program = builder.build(places, result)
        at = rng.uniform(program.lower[places], program.upper[places])
        numbers = np.append(value.matrix @ at[: value.matrix.shape[1]] + value.constant, -np.inf)
        solved = solve(program.at(at), 600)
        assert np.allclose(program.outputs_of(solved.x), numbers[windows].max(axis=1), atol=1e-6)
        assert (result.low <= numbers[windows].max(axis=1) + 1e-9).all() and (result.high >= numbers[windows].max(axis=1) - 1e-9).all()


def test_largest_that_is_never_smaller_needs_no_binary():
    builder, _, _ = read_through(0.0, 1.0)
    places = builder.add_variables(np.array([2.0, -1.0]), np.array([3.0, 1.5]))
    result = largest(builder, builder.affine(places), np.array([[0, 1]]), True)
    assert builder.count == 4 and result.matrix.indices.tolist() == [places[0]]


def test_largest_of_multiples_of_one_score_is_the_largest_multiple():
    builder = ProgramBuilder()
    builder.add_variables(np.zeros(2), np.ones(2))
    matrix = sparse.csr_matrix(np.array([[0.5, 0], [2.0, 0], [0, 0], [0, 1.0], [0, 3.0]]))
    value = Affine(matrix, np.zeros(5), np.zeros(5), matrix.toarray().sum(axis=1))
    result = largest(builder, value, np.array([[0, 1, 2], [3, 4, 2]]), True)
    assert builder.count == 2 and result.matrix.toarray().tolist() == [[2.0, 0], [0, 3.0]]


def test_largest_of_multiples_of_two_scores_is_exact():
    builder = ProgramBuilder()
    scores = builder.add_variables(np.zeros(2), np.ones(2))
    value = Affine(sparse.csr_matrix(np.array([[2.0, 0], [0, 3.0]])), np.zeros(2), np.zeros(2), np.array([2.0, 3.0]))
    result = largest(builder, value, np.array([[0, 1]]), True)
    program = builder.build(scores, result)
    for at in ((0, 0), (1, 0), (0, 1), (1, 1), (0.9, 0.5)):
        solved = solve(program.at(np.array(at, float)), 600)
        assert program.outputs_of(solved.x)[0] == pytest.approx(max(2 * at[0], 3 * at[1]), abs=1e-6)


def test_cut_never_cuts_off_a_true_point():
    rng = np.random.default_rng(3)
    for _ in range(20):
        builder, _, value = random_value(rng, 6, 4)
        above = gates._relu_of_terms(builder, value)
        x = rng.uniform(builder.lower, builder.upper, size=(200, builder.count))
        x[:50] = np.where(rng.random((50, builder.count)) < 0.5, builder.lower, builder.upper)
        assert (x @ above.matrix.T + above.constant >= np.maximum(x @ value.matrix.T + value.constant, 0) - 1e-9).all()


def test_relaxed_relu_is_off_where_all_that_it_reads_is_gone():
    builder = ProgramBuilder()
    scores = builder.add_variables(np.zeros(2), np.ones(2))
    value = builder.linear_map([sparse.csr_matrix([[1.0, -1.0]])], [builder.affine(scores)], np.array([0.0]))
    result = gates.relu(builder, value, None, False, False)
    program = builder.build(scores, result).at(np.zeros(2))
    cost = np.zeros(len(program.cost))
    cost[result.matrix.indices[0]] = -1
    assert solve(replace(program, cost=cost), 10).objective == pytest.approx(0, abs=1e-7)
