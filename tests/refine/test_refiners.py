"""What all refiners that measure owe, on a metric whose truth is known."""

from functools import cache

import numpy as np
import pytest

from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.places import components
from qprune_cli.problem.local_search import repaired
from qprune_cli.search.evaluations import EvaluationLog
from tests.conftest import factored_problem, priced_problem, random_problem
from tests.search.conftest import fake_metric

SEARCHES = sorted(name for name, purpose in components("refine").items() if name != "none" and not purpose.startswith("alias"))
KINDS = {
    "in all": lambda seed: random_problem(seed, widths=(12, 14, 10), budget=18, signed=True),
    "with a floor": lambda seed: random_problem(seed, widths=(12, 14, 10), budget=18, floor=5, signed=True),
    "across layers": lambda seed: factored_problem(seed, widths=(12, 14, 10), rank=4, budget=18),
    "of a cost": lambda seed: priced_problem(seed, widths=(12, 14, 10), signed=True),
    "of a cost, rounded": lambda seed: priced_problem(seed, widths=(12, 14, 10), round_to=4),
}


@cache
def built(name, evaluations):
    refiner = compose_jobs("run", [f"refine={name}"]).jobs[0].component("refine")
    stages = getattr(refiner, "stages", None)
    for one in stages or (refiner,):
        object.__setattr__(one, "evaluations", evaluations)
    return refiner, evaluations * len(stages or (refiner,))


def refined(name, problem, seed=0, noise=0.0, evaluations=80):
    start = problem.judge(repaired(problem, np.random.default_rng(seed).uniform(size=problem.layout.n) < 0.5), 0.0)
    refiner, allowed = built(name, evaluations)
    log = EvaluationLog(fake_metric(problem, noise=noise), start.keep)
    return start, refiner.refine(problem, start, log, seed), log, allowed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SEARCHES)
def test_result_is_feasible_within_the_evaluations_and_no_worse_on_either_half(name, kind):
    for seed in range(3):
        problem = KINDS[kind](seed)
        start, solution, log, allowed = refined(name, problem, seed, noise=0.3)
        assert solution.feasible and problem.feasible(solution.keep)
        assert log.spent <= allowed and solution.notes["evaluations"] == log.spent
        for images in (log.held_out_images, np.arange(log.metric.images)):
            before, after = log.metric.measure(np.stack([start.keep, solution.keep]), images, start.keep).mean(axis=1)
            assert after >= before - 1e-9
        assert solution.notes["stopped" if name != "chain" else "stages"]


@pytest.mark.parametrize("name", sorted(set(SEARCHES) - {"random"}))
@pytest.mark.slow
def test_search_finds_much_of_what_there_is_to_gain(name):
    gained = []
    for seed in range(4):
        problem = KINDS["in all"](seed)
        start, solution, _, _ = refined(name, problem, seed, evaluations=200)
        best = min(problem.damage(repaired(problem, np.random.default_rng(k).uniform(size=36) < 0.5)[None])[0] for k in range(50))
        gained.append((start.damage - solution.damage) / (start.damage - best))
    assert np.mean(gained) > 0.6


def test_sequential_reaches_more_than_descent_with_half_of_the_evaluations():
    damage = {name: [] for name in ("sequential", "descent")}
    for seed in range(8):
        problem = KINDS["across layers"](seed)
        for name, evaluations in (("sequential", 60), ("descent", 120)):
            damage[name].append(refined(name, problem, seed, evaluations=evaluations)[1].damage)
    assert np.mean(damage["sequential"]) < np.mean(damage["descent"])


def test_a_search_that_has_nothing_to_exchange_ends():
    problem = random_problem(0, widths=(3,), budget=3)
    for name in SEARCHES:
        start, solution, log, _ = refined(name, problem)
        assert np.array_equal(solution.keep, start.keep) and log.spent < 20
