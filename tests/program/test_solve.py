"""SCIP and HiGHS give what scipy and brute force give."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, sparse

from qprune_cli.errors import UserError
from qprune_cli.program.affine import Affine
from qprune_cli.program.build import Formulation, joint_program
from qprune_cli.program.builder import ProgramBuilder
from qprune_cli.program.solve import Solved, extremes, solve, solve_linear
from tests.program.networks import random_mlp, samples


def knapsack(seed, integer=True, count=8):
    rng = np.random.default_rng(seed)
    weights, gains = rng.uniform(1, 4, count), rng.uniform(1, 5, count)
    builder = ProgramBuilder()
    variables = builder.add_variables(np.zeros(count), np.ones(count), integer)
    builder.add_cost(variables, -gains)
    builder.constant = 2.0
    builder.add_row(variables, weights, -np.inf, weights.sum() / 2)
    return builder.build(variables, builder.affine(variables)), weights, gains


def test_best_of_a_knapsack_is_that_of_brute_force():
    masks = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(float)
    for seed in range(3):
        program, weights, gains = knapsack(seed)
        solved = solve(program, 600)
        wanted = -(masks @ gains)[masks @ weights <= weights.sum() / 2].max() + 2
        assert solved.status == "optimal" and solved.objective == pytest.approx(wanted) and solved.gap < 1e-9
        assert solved.objective == pytest.approx(program.cost @ solved.x + 2)


def test_both_solvers_of_linear_programs_agree_with_scipy():
    for seed in range(3):
        program, weights, gains = knapsack(seed, integer=False)
        wanted = optimize.linprog(-gains, A_ub=weights[None], b_ub=[weights.sum() / 2], bounds=(0, 1)).fun + 2
        for how in (solve, solve_linear):
            solved = how(program, 600)
            assert solved.objective == pytest.approx(wanted, abs=1e-6) and solved.status == "optimal"


def test_both_solvers_agree_on_the_relaxed_program_of_a_network():
    network, x = random_mlp(0), samples(0)
    program = joint_program(network, x, np.array([0, 1, 2]), 5.0, Formulation(relu="relaxed"), np.ones(10, bool))
    assert solve(program, 600).objective == pytest.approx(solve_linear(program, 20).objective, abs=1e-5)


def test_squares_exponentials_and_products_hold():
    builder = ProgramBuilder()
    z, q = builder.add_variables(np.array([-1.5]), np.array([3.0])), builder.add_variables(np.array([0.0]), np.array([np.inf]))
    p, a, b = (builder.add_variables(np.array([low]), np.array([high])) for low, high in ((0, 10), (2, 2), (3, 3)))
    u = builder.add_variables(np.full(2, -9.0), np.zeros(2))
    builder.squares.append(np.array([z[0], q[0]]))
    builder.products.append(np.array([p[0], a[0], b[0]]))
    builder.exponentials.append(u)
    builder.add_cost(q, 1.0)
    builder.add_cost(z, -2.0)
    builder.add_cost(u, -1.0)
    solved = solve(builder.build(z, builder.affine(z)), 10).x
    assert solved[z[0]] == pytest.approx(1, abs=1e-2) and solved[q[0]] == pytest.approx(1, abs=1e-2)
    assert solved[p[0]] == pytest.approx(6) and np.allclose(solved[u], np.log(0.5), atol=1e-3)


def test_extremes_are_the_ends_of_a_relaxation():
    program, weights, _ = knapsack(0)
    least, most = extremes(program, weights, 600)
    assert least == pytest.approx(0, abs=1e-6) and most == pytest.approx(weights.sum() / 2)


def test_infeasible_program_has_no_point_and_says_so():
    program, weights, _ = knapsack(0)
    for integer in (True, False):
        never = replace(program, low=np.array([weights.sum() + 1]), high=np.array([np.inf]), integer=np.full(8, integer))
        solved = solve(never, 10)
        assert solved.x is None and solved.status == "infeasible" and solved.objective is None and solved.gap is None
    assert solve_linear(never, 10).x is None


def test_given_start_is_taken_when_there_is_no_time():
    program, _, _ = knapsack(0, count=30)
    solved = solve(program, 0.0, start=np.zeros(30))
    assert solved.status == "timelimit" and (solved.x is None or np.allclose(solved.x, 0))
    partial = np.full(30, np.nan)
    partial[0] = 1.0
    assert solve(program, 10, start=partial).status == "optimal"


def test_gap_is_relative_and_never_negative():
    assert Solved(np.zeros(1), "timelimit", 4.0, 3.0, 1, 1.0).gap == pytest.approx(0.25)
    assert Solved(np.zeros(1), "optimal", 4.0, 4.1, 1, 1.0).gap == 0
    assert Solved(None, "timelimit", None, 3.0, 1, 1.0).gap is None


def test_equal_rows_and_open_rows_are_told_apart():
    builder = ProgramBuilder()
    variables = builder.add_variables(np.full(2, -np.inf), np.full(2, np.inf))
    builder.add_rows([(builder.affine(variables[:1]), 1.0)], 3.0, 3.0)
    builder.add_rows([(variables[1:], 1.0)], -1.0, 4.0)
    builder.add_cost(variables, np.array([0.0, 1.0]))
    program = builder.build(variables, Affine(sparse.csr_matrix((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0)))
    assert np.allclose(solve(program, 5).x, [3, -1]) and np.allclose(solve_linear(program, 5).x, [3, -1])


def test_missing_scip_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyscipopt", None)
    program, _, _ = knapsack(0)
    with pytest.raises(UserError, match=r"SCIP cannot be loaded .*pip install --force-reinstall pyscipopt") as caught:
        solve(program, 600)
    assert "\n" not in str(caught.value)
