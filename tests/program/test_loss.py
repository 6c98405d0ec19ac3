"""Losses of programs equal what torch and numpy say."""

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.nn import functional as F

from qprune_cli.program.build import Formulation, joint_program, layer_program
from qprune_cli.program.builder import ProgramBuilder
from qprune_cli.program.loss import compressed
from qprune_cli.program.network import simulate
from qprune_cli.program.solve import solve
from tests.program.networks import random_mask, random_mlp, samples

PRICE = 3.0


def expected(loss, outputs, wanted):
    """Sum over the samples."""
    if loss == "softmax":
        return float(F.cross_entropy(torch.from_numpy(outputs), torch.from_numpy(wanted), reduction="sum"))
    if loss == "margin":
        short = np.maximum(0, 1 - outputs[np.arange(len(wanted)), wanted][:, None] + outputs)
        return short.sum() - len(wanted)  # the right class against itself
    return np.abs(outputs - wanted).sum() if loss == "l1" else np.square(outputs - wanted).sum()


def wanted_of(loss, seed, outputs):
    rng = np.random.default_rng(seed)
    return rng.integers(0, outputs.shape[1], len(outputs)) if loss in ("margin", "softmax") else rng.normal(size=outputs.shape)


@pytest.mark.parametrize("loss", ["margin", "softmax", "l1", "l2"])
def test_objective_of_a_network_at_fixed_scores(loss):
    for seed in range(4):
        network, x, scores = random_mlp(seed), samples(seed), random_mask(seed, 10, 0.8)
        outputs = simulate(network, x, scores)[-1]
        wanted = wanted_of(loss, seed, outputs)
        program = joint_program(network, x, wanted, PRICE, Formulation(loss=loss), np.ones(10, bool))
        sparsity = scores[:6].mean() + scores[6:].mean()
        assert solve(program.at(scores), 600).objective - sparsity == pytest.approx(PRICE * expected(loss, outputs, wanted) / 3, abs=1e-4)


@pytest.mark.parametrize("loss", ["margin", "softmax", "l1", "l2"])
def test_objective_of_a_layer_at_fixed_scores(loss):
    rng = np.random.default_rng(1)
    for scale in (1.0, 30.0):
        columns, base, scores = rng.normal(size=(12, 4)) * scale, rng.normal(size=12), rng.random(4)
        outputs = (base + columns @ scores).reshape(4, 3)
        wanted = wanted_of(loss, 0, outputs)
        program = layer_program(columns, base, wanted.ravel(), PRICE, Formulation(loss=loss), 4)
        value = PRICE * expected(loss, outputs, wanted) / (4 if loss in ("margin", "softmax") else 12)
        assert solve(program.at(scores), 600).objective - scores.mean() == pytest.approx(value, rel=1e-5, abs=1e-4)


def test_sure_and_utterly_wrong_logits_cost_what_torch_says():
    for gap in (200.0, -200.0):
        columns, base = np.zeros((3, 1)), np.array([gap, 0.0, 0.0])
        program = layer_program(columns, base, np.array([0]), 1.0, Formulation(loss="softmax"), 1)
        value = float(F.cross_entropy(torch.from_numpy(base)[None], torch.tensor([0])))
        assert solve(program, 600).objective == pytest.approx(value, abs=1e-4)


def test_least_softmax_equals_a_convex_fit_by_torch():
    rng = np.random.default_rng(4)
    columns, base, labels = rng.normal(size=(15, 3)), rng.normal(size=15), rng.integers(0, 3, 5)
    program = layer_program(columns, base, labels, 5.0, Formulation(loss="softmax"), 3)
    solved = solve(program, 600)
    scores = np.clip(solved.x[program.scores], 0, 1)

    def total(s):
        return 5.0 * float(F.cross_entropy(torch.from_numpy((base + columns @ s).reshape(5, 3)), torch.from_numpy(labels))) + s.mean()

    assert solved.objective == pytest.approx(total(scores), abs=1e-4)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 6)] * 3), axis=-1).reshape(-1, 3)
    assert total(scores) <= min(total(s) for s in grid) + 1e-4


def test_compressed_errors_are_as_long_as_the_errors():
    rng = np.random.default_rng(2)
    builder = ProgramBuilder()
    variables = builder.add_variables(np.zeros(5), np.ones(5))
    matrix = np.zeros((40, 5))
    matrix[:, [0, 2, 3]] = rng.normal(size=(40, 3))
    value = builder.linear_map([sparse.csr_matrix(matrix)], [builder.affine(variables)], rng.normal(size=40))
    short = compressed(value, builder)
    assert len(short) == 4
    for x in rng.random((10, 5)):
        assert np.square(short.matrix @ x + short.constant).sum() == pytest.approx(np.square(matrix @ x + value.constant).sum())


def test_few_errors_are_not_compressed():
    builder = ProgramBuilder()
    value = builder.affine(builder.add_variables(np.zeros(5), np.ones(5)))
    assert compressed(value, builder) is value


def test_least_squares_are_those_of_a_closed_form():
    rng = np.random.default_rng(3)
    columns, base, inner = rng.normal(size=(60, 3)), rng.normal(size=60), np.array([0.4, 0.6, 0.5])
    wanted = base + columns @ inner + 0.01 * rng.normal(size=60)
    program = layer_program(columns, base, wanted, 10.0, Formulation(loss="l2"), 3)
    solved = solve(program, 600)
    # 10/60 |C s + b - w|^2 + mean(s): zero gradient
    best = np.linalg.solve(2 * columns.T @ columns * 10 / 60, 2 * columns.T @ (wanted - base) * 10 / 60 - 1 / 3)
    assert np.allclose(solved.x[program.scores], best, atol=2e-3) and (best > 0).all() and (best < 1).all()
