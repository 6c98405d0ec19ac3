import numpy as np
import pytest

from qprune_cli.errors import UserError
from qprune_cli.problem.budget import Budget
from qprune_cli.problem.local_search import repaired
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.refine.tensor_train import PATIENCE, TensorTrain
from qprune_cli.search.evaluations import EvaluationLog
from tests.conftest import factored_problem, priced_problem, random_problem
from tests.search.conftest import fake_metric

WIDTHS = (20, 20, 24)


def solved(problem, seed=0):
    rng = np.random.default_rng(seed)
    return problem.judge(repaired(problem, rng.uniform(size=problem.layout.n) < 0.5), seconds=0.0)


def refined(problem, metric, seed=0, **settings):
    start = solved(problem, seed)
    log = EvaluationLog(metric, start.keep)
    return start, log, TensorTrain(**settings).refine(problem, start, log, seed)


def layerwise(seed):
    base = random_problem(seed, WIDTHS, budget=32)
    return PruningProblem(base.layout, base.linear, base.pairs, Budget("filters", 32, tuple(np.array([k]) for k in (8, 10, 14))))


BUILDS = {
    "total": lambda seed: random_problem(seed, WIDTHS, budget=32),
    "floor": lambda seed: random_problem(seed, WIDTHS, budget=33, floor=10),
    "per layer": layerwise,
    "multiples": lambda seed: PruningProblem(
        (base := random_problem(seed, WIDTHS, budget=32)).layout, base.linear, base.pairs, Budget.filters(base.layout, 32, 4, 4)
    ),
    "cost": lambda seed: priced_problem(seed, WIDTHS),
    "shared cost": lambda seed: priced_problem(seed, WIDTHS, union=True),
}


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
@pytest.mark.parametrize("active", [0, 24])
@pytest.mark.slow
def test_every_mask_meets_the_budget_and_the_last_is_no_worse_than_the_first(build, active):
    for seed in range(2):
        problem = build(seed)
        metric = fake_metric(factored_problem(seed + 5, WIDTHS), noise=0.1)
        start, log, solution = refined(problem, metric, seed, active=active, evaluations=80)
        assert solution.feasible and all(problem.feasible(np.frombuffer(key, bool)) for key in log.records)
        before, after = metric.measure(np.stack([start.keep, solution.keep]), log.held_out_images, start.keep).mean(axis=1)
        assert after >= before
        assert log.spent <= 80 and solution.notes["evaluations"] == log.spent
        assert not problem.budget.exact or all(np.frombuffer(key, bool).sum() == start.keep.sum() for key in log.records)


@pytest.mark.parametrize("name", ["total", "per layer", "multiples"])
def test_all_samples_are_feasible_where_numbers_are_what_is_asked(name):
    _, _, solution = refined(BUILDS[name](0), fake_metric(factored_problem(5, WIDTHS)), evaluations=60, active=30)
    assert solution.notes["feasible_share"] == 1


@pytest.mark.parametrize("evaluations", [3, 7, 20, 33, 60])
def test_allowance_is_never_exceeded(evaluations):
    problem = random_problem(0, WIDTHS, budget=32)
    _, log, _ = refined(problem, fake_metric(factored_problem(5, WIDTHS)), evaluations=evaluations, active=24)
    moves = len(log.incumbents)
    assert log.spent <= evaluations and len(log.records) + moves + 5 * log.gradients == log.spent


def test_same_seed_same_mask():
    problem, metric = random_problem(0, WIDTHS, budget=32), fake_metric(factored_problem(5, WIDTHS))
    first, again, other = (refined(problem, metric, seed, active=24, evaluations=120)[1] for seed in (0, 0, 1))
    assert list(first.records) == list(again.records) != list(other.records)


def test_start_is_measured_first_and_is_in_the_first_batch(monkeypatch):
    problem = random_problem(0, WIDTHS, budget=32)
    batches, values = [], EvaluationLog.values
    monkeypatch.setattr(EvaluationLog, "values", lambda log, keep, race=True: batches.append(keep.copy()) or values(log, keep, race))
    start, log, _ = refined(problem, fake_metric(problem), active=0, evaluations=60)
    assert np.array_equal(batches[0][0], start.keep) and next(iter(log.records)) == start.keep.tobytes()


def test_it_stops_when_the_train_has_collapsed():
    problem = random_problem(0, (2, 2), budget=2)
    _, log, solution = refined(problem, fake_metric(problem), active=0, evaluations=500)
    assert "collapsed" in solution.notes["stopped"] or "held-out" in solution.notes["stopped"]
    assert log.spent < 30 and solution.notes["batches"] <= 6 + PATIENCE


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
def test_it_is_better_than_random_masks_at_the_same_price(seed):
    truth, problem = factored_problem(seed + 5, WIDTHS, budget=32), random_problem(seed, WIDTHS, budget=32)
    start, log, solution = refined(problem, fake_metric(truth), seed)
    rng = np.random.default_rng(seed)
    masks = np.repeat(start.keep[None], log.spent, axis=0)
    for mask in masks:  # some random swaps, as many as the train begins with
        swaps = int(rng.integers(1, 8))
        mask[rng.permutation(np.flatnonzero(start.keep))[:swaps]] = False
        mask[rng.permutation(np.flatnonzero(~start.keep))[:swaps]] = True
    uniform = np.argsort(rng.uniform(size=masks.shape), axis=1) < 32
    before, after = truth.damage(np.stack([start.keep, solution.keep]))
    assert after < before and after < min(truth.damage(masks).min(), truth.damage(uniform).min())


@pytest.mark.parametrize("name", ["rank", "samples", "elites", "steps", "active", "probes", "evaluations"])
def test_numbers_that_mean_nothing_are_refused(name):
    with pytest.raises(UserError, match=f"refine.{name}=-1: give"):
        TensorTrain(**{name: -1})


@pytest.mark.parametrize(("name", "value"), [("rate", 0.0), ("rate", float("nan")), ("eta", 0.0), ("eta", 1.0), ("elites", 21)])
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(UserError, match=f"refine.{name}={value}: give"):
        TensorTrain(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("active", 1), ("probes", 3)])
def test_too_few_to_mean_anything_are_refused(name, value):
    with pytest.raises(UserError, match=f"refine.{name}={value}: give at least"):
        TensorTrain(**{name: value})


@pytest.mark.parametrize("active", [0, 16])
def test_start_stays_where_nothing_can_change(active):
    problem = random_problem(0, WIDTHS, budget=64)
    start, log, solution = refined(problem, fake_metric(problem), active=active)
    assert np.array_equal(solution.keep, start.keep) and log.spent == 2
    assert ("trade places" if active else "collapsed") in solution.notes["stopped"]
