import numpy as np

from qprune_cli.scores import Quadratic
from qprune_cli.search.active import active_set, by_damage, by_quadratic, cheapest
from qprune_cli.search.evaluations import EvaluationLog
from tests.conftest import factored_problem, random_problem
from tests.search.conftest import fake_metric

WIDTHS = (20, 20, 24)


def surprised(problem, seed=9):
    """A metric that the problem knows nothing of."""
    return fake_metric(factored_problem(seed, [len(filters) for filters in problem.filters_of], budget=int(problem.budget.limit)))


def started(metric, problem, seed=0):
    keep = np.random.default_rng(seed).permutation(problem.layout.n) < problem.budget.limit
    return EvaluationLog(metric, keep)


def chosen(problem, log, size=16, probes=20):
    with log.allowance(200, "test"):
        return active_set(problem, log, [np.arange(problem.layout.n)], size, probes, np.random.default_rng(0))


def test_the_prediction_that_ranks_true_changes_better_chooses():
    problem = random_problem(0, WIDTHS, budget=32)
    good = chosen(problem, started(fake_metric(problem, noise=0), problem))
    assert good.notes["correlations"]["damage"] > 0.99
    bad = chosen(problem, started(surprised(problem), problem))
    assert bad.notes["predictor"] == "quadratic" and bad.notes["correlations"]["damage"] < 0.5


def test_filters_are_random_where_no_prediction_is_any_good(monkeypatch):
    problem = random_problem(0, WIDTHS, budget=32)
    metric = surprised(problem)
    slope = metric.quadratic
    monkeypatch.setattr(metric, "quadratic", lambda *given: Quadratic(-slope(*given).gradient, slope(*given).factor, slope(*given).dead))
    active = chosen(problem, started(metric, problem))
    assert active.notes["predictor"] == "random" and len(active.filters) == 16


def test_half_of_the_filters_are_kept_ones_and_dead_dropped_ones_stay_out(monkeypatch):
    problem = random_problem(0, WIDTHS, budget=32)
    metric = fake_metric(problem)
    log, slope = started(metric, problem), metric.quadratic
    dead = np.arange(problem.layout.n) % 2 == 0
    monkeypatch.setattr(metric, "quadratic", lambda *given: Quadratic(slope(*given).gradient, slope(*given).factor, dead))
    active = chosen(problem, log)
    keep = log.last.keep
    assert keep[active.filters].sum() == 8 and not (dead & ~keep)[active.filters].any()


def test_all_filters_are_free_without_a_size_and_nothing_is_spent():
    problem = random_problem(0, WIDTHS, budget=32)
    log = started(fake_metric(problem), problem)
    assert len(chosen(problem, log, size=0).filters) == problem.layout.n and log.spent == 2


def test_choice_spends_at_most_a_quarter():
    problem = random_problem(0, WIDTHS, budget=32)
    log = started(fake_metric(problem), problem)
    chosen(problem, log, probes=10_000)
    assert log.spent <= 2 + 198 // 4 + 1


def test_predictions_are_those_of_single_flips_and_swaps():
    problem = random_problem(1, (5, 6), budget=6)
    keep = np.arange(11) < 6
    quadratic = fake_metric(problem).quadratic(keep, np.arange(2), 1, 0)
    flipped = keep[None] ^ np.eye(11, dtype=bool)
    exact = problem.damage(flipped) - problem.damage(keep[None])
    for prediction in (by_damage(problem, keep, flipped), by_quadratic(quadratic, keep, flipped)):
        assert np.allclose(prediction.flips, exact) and np.allclose(prediction.swaps, exact)


def test_where_one_side_runs_out_the_other_fills_up():
    keep = np.arange(10) < 8
    filters = cheapest(np.arange(10.0), keep, [np.arange(10)], size=6)
    assert len(filters) == 6 and keep[filters].sum() == 4
