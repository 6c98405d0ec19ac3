"""A network as numbers does what the network does."""

import numpy as np

from qprune_cli.program.network import gates, layers_of, maxima, simulate
from tests.program.networks import random_mask, random_mlp, samples


def test_simulation_equals_a_loop_over_units():
    for seed in range(5):
        network, x = random_mlp(seed), samples(seed)
        scores = np.random.default_rng(seed).random(network.n)
        value, start = x, 0
        for op in network.ops[1:]:
            if op.kind == "linear":
                value = value @ op.matrices[0].toarray().T + op.constant
            else:
                width = value.shape[1]
                value = np.where(value > 0, value, 0) * scores[start : start + width]
                start += width
        assert np.allclose(simulate(network, x, scores)[-1], value)


def test_silenced_unit_passes_nothing_on():
    network, x, scores = random_mlp(0), samples(0), random_mask(0, 10)
    values = simulate(network, x, scores)
    hidden = np.concatenate([values[2], values[4]], axis=1)
    assert (hidden[:, scores == 0] == 0).all() and len(values) == len(network.ops)


def test_maxima_run_over_their_windows_alone():
    windows = np.array([[0, 1, 2], [3, -1, -1], [1, 3, -1]])
    values = np.random.default_rng(0).normal(size=(4, 5))
    assert np.array_equal(maxima(values, windows), np.stack([values[:, :3].max(1), values[:, 3], values[:, [1, 3]].max(1)], axis=1))


def test_what_has_no_score_passes_whole():
    assert gates(np.array([1, -1, 0]), np.array([0.25, 0.5])).tolist() == [0.5, 1.0, 0.25]


def test_layers_of_scores_are_split_in_order():
    assert [scores.tolist() for scores in layers_of(np.array([0, 0, 1, 1, 1]))] == [[0, 1], [2, 3, 4]]
