import numpy as np
import pytest

from qprune_cli.search.mask_distribution import MaskDistribution
from qprune_cli.search.protes import Protes
from scripts.published_problems import CAPACITY, WEIGHTS, edges, knapsack, knapsack_optimum, max_cut, minimum, qubo_knapsack, vertex_cover


def test_first_masks_are_in_the_first_batch_and_nothing_stops_but_the_measure():
    batches, first = [], np.eye(6, dtype=bool)[:2]

    def measure(masks):
        batches.append(masks)
        return (masks, masks.sum(axis=1).astype(float)) if len(batches) < 4 else None

    rng = np.random.default_rng(0)
    Protes(samples=5, elites=2).climb(MaskDistribution.random(6, 2, rng), measure, rng, first)
    assert np.array_equal(batches[0][:2], first) and [len(batch) for batch in batches] == [5] * 4


def test_memory_learns_from_the_best_of_all_batches():
    rng, target, calls = np.random.default_rng(0), np.arange(10) < 5, []

    def measure(masks):
        calls.append(1)
        if len(calls) == 1:
            return target[None], np.array([1.0])  # never seen again
        return (masks, np.zeros(len(masks))) if len(calls) < 60 else None

    distribution = Protes(samples=5, elites=1, memory=True, steps=5, rate=0.2).climb(MaskDistribution.random(10, 2, rng), measure, rng)
    assert np.exp(distribution.log_probability(target[None]))[0] > 0.9


def test_measure_may_return_nothing_to_learn_from():
    rng, calls = np.random.default_rng(0), []

    def measure(masks):
        calls.append(1)
        return (masks[:0], np.empty(0)) if len(calls) < 5 else None

    start = MaskDistribution.random(6, 2, rng)
    assert np.array_equal(Protes(samples=4).climb(start, measure, rng).theta, start.theta)


def test_published_problems_are_what_they_were():
    assert knapsack_optimum() == 3103 and len(WEIGHTS) == 50 and sum(WEIGHTS) > CAPACITY
    assert knapsack(np.ones((1, 50), bool)) == 0 and knapsack(np.eye(50, dtype=bool)[:1]) == -220
    graph, rng = edges(), np.random.default_rng(0)
    assert len(graph) == 597  # a cover of 43 vertices makes the published -5927
    masks = rng.uniform(size=(4, 50)) < 0.5
    matrix = np.zeros((50, 50))
    for i, j in graph:
        matrix[i, i], matrix[j, j], matrix[i, j], matrix[j, i] = matrix[i, i] - 1, matrix[j, j] - 1, matrix[i, j] + 1, matrix[j, i] + 1
    assert np.allclose(max_cut(masks), np.einsum("bi,ij,bj->b", masks, matrix, masks))
    assert vertex_cover(np.ones((1, 50), bool)) == 50 - 10 * 597
    assert qubo_knapsack(np.zeros((1, 50), bool)) == 0


@pytest.mark.parametrize("seed", range(3))
def test_knapsack_is_nearly_solved_within_few_evaluations(seed):
    assert minimum(knapsack, Protes(rate=0.1, memory=True), evaluations=5000, seed=seed) <= -3048  # the best rival after 10,000
