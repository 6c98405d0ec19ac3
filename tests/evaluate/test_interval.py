import numpy as np
from scipy.stats import bootstrap, t

from qprune_cli.evaluate.interval import ci95, t95


def test_interval_agrees_with_scipy():
    values = np.random.default_rng(0).exponential(size=60)
    expected = bootstrap((values,), np.mean, n_resamples=9999, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    low, high = ci95(values)
    assert abs(low - expected.low) < 0.02 and abs(high - expected.high) < 0.02


def test_interval_of_the_mean_covers_it_about_95_times_in_100():
    rng = np.random.default_rng(0)
    covered = [low <= 0 <= high for low, high in (ci95(rng.normal(size=40)) for _ in range(300))]
    assert 0.90 <= np.mean(covered) <= 0.98


def test_an_interval_over_many_images_is_the_same_in_parts(monkeypatch):
    values = np.random.default_rng(0).normal(size=1001)
    whole = ci95(values)
    monkeypatch.setattr("qprune_cli.evaluate.interval.AT_ONCE", 5000)
    assert np.array_equal(ci95(values), whole)


def test_intervals_of_all_rows_are_those_of_each(monkeypatch):
    values = np.random.default_rng(0).normal(30, 3, (4, 37))
    np.testing.assert_allclose(ci95(values), [ci95(row) for row in values], rtol=1e-12)
    monkeypatch.setattr("qprune_cli.evaluate.interval.AT_ONCE", 37 * 100)  # draws in many parts
    np.testing.assert_allclose(ci95(values), [ci95(row) for row in values], rtol=1e-12)


def test_draws_stay_as_they_were_in_published_results():
    values = np.random.default_rng(5).normal(30, 3, (2, 24))
    published = [[28.394017121323774, 30.49469679945351], [27.596885172213277, 29.640814727045893]]
    np.testing.assert_allclose(ci95(values), published, rtol=1e-14)
    np.testing.assert_allclose(ci95(values[0]), published[0], rtol=1e-14)


def test_one_image_has_an_interval_of_no_width():
    assert ci95(np.array([[3.0]])).tolist() == [[3.0, 3.0]]


def test_interval_over_seeds_is_that_of_students_t():
    values = np.array([0.3, -0.1, 0.4, 0.2])
    expected = t.interval(0.95, len(values) - 1, loc=values.mean(), scale=values.std(ddof=1) / 2)
    assert np.allclose(t95(values), expected) and t95(values[:1]) is None
