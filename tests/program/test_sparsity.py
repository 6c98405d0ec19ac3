"""Sparsity terms and budgets, by brute force."""

import numpy as np
import pytest
from torch import nn

from qprune_cli.cost.cost import Cost
from qprune_cli.problem.budget import Prices
from qprune_cli.program.affine import Affine
from qprune_cli.program.build import Formulation, Limit, joint_program
from qprune_cli.program.builder import ProgramBuilder
from qprune_cli.program.network import simulate
from qprune_cli.program.solve import solve
from qprune_cli.program.sparsity import keep_exactly, keep_within, pay_scores
from tests.conftest import all_masks
from tests.program.networks import lively, numbers_of, random_mlp, samples

LAYER_OF = np.array([0, 0, 0, 1, 1, 2, 2, 2])


def term_at(name, scores, layer_of, filters):
    builder = ProgramBuilder()
    variables = builder.add_variables(np.zeros(len(scores)), np.ones(len(scores)))
    pay_scores(builder, name, variables, layer_of, filters)
    program = builder.build(variables, Affine.fixed(np.zeros(1)))
    return solve(program.at(scores), 600).objective


def test_published_term_is_the_sum_of_all_but_the_smallest_layer():
    filters = np.array([3, 2, 3 * 25])
    for seed in range(8):
        scores = np.random.default_rng(seed).random(8)
        layers = [((scores - 2)[k == LAYER_OF] / filters[k]).sum() for k in range(3)]
        assert term_at("published", scores, LAYER_OF, filters) == pytest.approx(sum(layers) - min(layers), abs=1e-6)


def test_published_term_of_one_layer_is_that_layer():
    scores = np.array([0.2, 0.9, 0.4])
    assert term_at("published", scores, np.zeros(3, int), np.array([6])) == pytest.approx((scores - 2).sum() / 6)


def test_normalised_term_is_the_sum_of_the_means_of_the_layers():
    scores = np.random.default_rng(0).random(8)
    wanted = scores[:3].mean() + scores[3:5].mean() + scores[5:].mean()
    assert term_at("normalised", scores, LAYER_OF, np.array([75, 50, 3])) == pytest.approx(wanted)


@pytest.mark.parametrize("kept", [1, 4, 8])
def test_exactly_so_many_binary_scores_stay(kept):
    network, x = random_mlp(0, (5, 4, 4, 3)), samples(0, 2)
    how = Formulation(scores="binary", loss="margin")
    program = joint_program(network, x, np.array([0, 1]), 5.0, how, np.ones(8, bool), Limit(kept=kept))
    solved = solve(program, 600)
    scores = solved.x[program.scores]
    assert np.allclose(scores, scores.round(), atol=1e-6) and scores.sum() == pytest.approx(kept)
    assert solved.objective == pytest.approx(best(network, x, np.array([0, 1]), 5.0, lambda mask: mask.sum() == kept), abs=1e-5)


def best(network, x, labels, price, allowed):
    """The least margin loss and normalised sparsity, by looking at every mask."""
    layers = [network.layer_of == k for k in range(network.layer_of.max() + 1)]
    values = []
    for mask in all_masks(network.n):
        if allowed(mask):
            outputs = simulate(network, x, mask.astype(float))[-1]
            short = np.maximum(0, 1 - outputs[np.arange(len(x)), labels][:, None] + outputs).sum() / len(x) - 1
            values.append(price * short + sum(mask[layer].mean() for layer in layers))
    return min(values)


@pytest.mark.parametrize("build", ["linear", "convolution"])
def test_budget_of_parameters_is_never_exceeded_and_the_best_mask_within_it_is_found(build):
    shape, model = {
        "linear": ((5,), nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))),
        "convolution": (
            (1, 5, 5),
            nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3, 3)),
        ),
    }[build]
    double, layout, network = numbers_of(lively(model, 1), shape)
    cost = Cost(double, layout, shape)

    def params(mask):
        return float(cost.footprint(mask).params)

    prices, dense = Prices.probed(layout, params), params(np.ones(layout.n, bool))
    x = np.random.default_rng(0).uniform(size=(2, *shape)).reshape(2, -1)
    labels = np.array([0, 2])
    for share in (0.35, 0.6, 0.8):
        limit = Limit(prices=prices, spend=share * dense)
        how = Formulation(scores="binary", loss="margin")
        program = joint_program(network, x, labels, 20.0, how, np.ones(layout.n, bool), limit)
        solved = solve(program, 600)
        mask = solved.x[program.scores] > 0.5
        assert params(mask) <= share * dense
        wanted = best(network, x, labels, 20.0, lambda mask, most=share * dense: params(mask) <= most)
        assert solved.status == "optimal" and solved.objective == pytest.approx(wanted, abs=1e-4)


def test_rows_of_a_budget_admit_exactly_the_masks_within_it():
    prices = Prices(1.0, np.array([2.0, 3.0]), np.array([[0.0, 1.5], [1.5, 0.5]]))
    layer_of = np.array([0, 0, 1, 1])
    for limit in (5.0, 9.0, 14.0):
        builder = ProgramBuilder()
        variables = builder.add_variables(np.zeros(4), np.ones(4), integer=True)
        keep_within(builder, variables, layer_of, prices, limit)
        program = builder.build(variables, Affine.fixed(np.zeros(1)))
        for mask in all_masks(4):
            within = prices.cost(np.bincount(layer_of, weights=mask)) <= limit + 1e-9
            assert (solve(program.at(mask.astype(float)), 5).x is not None) == within


def test_row_of_a_count_admits_that_count_alone():
    builder = ProgramBuilder()
    variables = builder.add_variables(np.zeros(4), np.ones(4), integer=True)
    keep_exactly(builder, variables, 2)
    program = builder.build(variables, Affine.fixed(np.zeros(1)))
    assert [mask.sum() == 2 for mask in all_masks(4)] == [solve(program.at(m.astype(float)), 5).x is not None for m in all_masks(4)]
