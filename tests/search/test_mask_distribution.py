import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qprune_cli.search.mask_distribution import MaskDistribution
from qprune_cli.search.protes import Adam
from tests.conftest import all_masks

RUNS = {"in all": ((8, 3),), "per layer": ((3, 1), (5, 3)), "full and empty layers": ((3, 0), (2, 2), (3, 1)), "free": ()}


def random_distribution(runs, d=8, rank=3, seed=0):
    return MaskDistribution.random(d, rank, np.random.default_rng(seed), runs)


def counts_hold(masks, runs):
    stops = np.cumsum([size for size, _ in runs])
    return all((masks[:, stop - size : stop].sum(axis=1) == ones).all() for stop, (size, ones) in zip(stops, runs, strict=True))


@pytest.mark.parametrize("runs", RUNS.values(), ids=RUNS)
@pytest.mark.slow
def test_samples_have_the_enumerated_probabilities(runs):
    distribution, masks = random_distribution(runs), all_masks(8)
    exact = np.exp(distribution.log_probability(masks))
    assert np.isclose(exact.sum(), 1, atol=1e-12)
    n = 1_000_000
    drawn = np.bincount(distribution.sample(np.random.default_rng(1), n) @ (1 << np.arange(8)), minlength=256) / n
    assert np.abs(drawn - exact).sum() / 2 < 0.01


@pytest.mark.parametrize("runs", RUNS.values(), ids=RUNS)
def test_probabilities_are_products_of_the_matrices(runs):
    distribution, masks = random_distribution(runs), all_masks(8)
    weights = np.array([np.linalg.multi_dot(np.exp(distribution.theta)[np.arange(8), mask.astype(int)]).sum() for mask in masks])
    weights *= [counts_hold(mask[None], runs) for mask in masks]
    with np.errstate(divide="ignore"):
        assert np.allclose(distribution.log_probability(masks), np.log(weights / weights.sum()), atol=1e-10)
    assert np.isclose(distribution.log_sum + distribution.theta.max(axis=(1, 2, 3)).sum(), np.log(weights.sum()))


@pytest.mark.parametrize("runs", RUNS.values(), ids=RUNS)
def test_slope_agrees_with_finite_differences(runs):
    distribution, step = random_distribution(runs, rank=2), 1e-5
    elites = distribution.sample(np.random.default_rng(1), 5)
    slope = distribution.slope(elites)
    for entry in np.ndindex(slope.shape):
        shift = np.zeros_like(slope)
        shift[entry] = step
        up, down = (MaskDistribution(distribution.theta + sign * shift, runs).log_probability(elites).mean() for sign in (1, -1))
        assert abs((up - down) / (2 * step) - slope[entry]) < 1e-5


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 6), st.floats(0, 1)), min_size=1, max_size=4), st.integers(1, 3), st.floats(0.1, 30))
def test_every_sample_has_its_counts_whatever_the_matrices_are(layers, rank, spread):
    runs = tuple((size, round(share * size)) for size, share in layers)
    rng = np.random.default_rng(0)
    d = sum(size for size, _ in runs)
    distribution = MaskDistribution(spread * rng.normal(size=(d, 2, rank, rank)), runs)
    masks = distribution.sample(rng, 20)
    assert counts_hold(masks, runs)
    assert np.isfinite(distribution.log_probability(masks)).all() and np.isfinite(distribution.slope(masks)).all()
    assert d > 10 or np.isclose(np.exp(distribution.log_probability(all_masks(d))).sum(), 1)


@pytest.mark.parametrize("runs", [((40, 13),), ((10, 3), (25, 20), (5, 1))])
def test_counts_hold_throughout_training(runs):
    distribution, rng, adam = random_distribution(runs, d=40), np.random.default_rng(1), Adam(0.2)
    elites = rng.uniform(size=(5, 40)) < 0.5  # of any number of ones
    for _ in range(50):
        distribution = MaskDistribution(adam.moved(distribution.theta, distribution.slope(elites)), runs)
        assert counts_hold(distribution.sample(rng, 20), runs)


@pytest.mark.parametrize("runs", [((1500, 700),), ((500, 1), (500, 499), (500, 250)), ()])
def test_thousands_of_variables_neither_overflow_nor_vanish(runs):
    mask = np.random.default_rng(0).uniform(size=1500) < 0.9  # far from the numbers of ones that are asked for
    distribution = MaskDistribution.around(mask, 0.01, 2, np.random.default_rng(0), runs)
    with np.errstate(all="raise", under="ignore"):
        masks = distribution.sample(np.random.default_rng(1), 5)
        logs, slope = distribution.log_probability(masks), distribution.slope(masks)
    assert counts_hold(masks, runs) and np.isfinite(logs).all() and (logs <= 0).all() and np.isfinite(slope).all()


def test_other_numbers_of_ones_have_no_probability():
    distribution = random_distribution(((8, 3),))
    masks = all_masks(8)
    assert np.array_equal(np.isneginf(distribution.log_probability(masks)), masks.sum(axis=1) != 3)


@pytest.mark.parametrize("runs", [(), ((400, 100),)])
def test_warm_train_differs_from_its_mask_about_as_often_as_asked(runs):
    mask = np.arange(400) % 4 == 0
    masks = MaskDistribution.around(mask, 0.1, 3, np.random.default_rng(0), runs).sample(np.random.default_rng(1), 300)
    assert 0.05 < (masks != mask).mean() < 0.15


def test_layers_are_not_independent():
    runs = ((2, 1), (2, 1))
    theta = np.log(np.full((4, 2, 2, 2), 1e-9) + np.eye(2))
    theta[0, 0, 1], theta[0, 1, 0] = -20, -20  # component 0 drops the first, component 1 keeps it
    theta[2, 0, 1], theta[2, 1, 0] = -20, -20
    masks = MaskDistribution(theta, runs).sample(np.random.default_rng(0), 200)
    assert (masks[:, 0] == masks[:, 2]).all() and 0 < masks[:, 0].mean() < 1
