import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qprune_cli.calibration.dead import dead_first
from qprune_cli.problem.local_search import polished, repaired
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Pairs, Scores
from tests.conftest import random_problem


@given(st.integers(0, 10**6), st.booleans(), st.integers(1, 11))
def test_no_live_filter_goes_before_a_dead_one(seed, signed, budget):
    template = random_problem(seed, signed=signed, budget=budget, floor=0)
    n = template.layout.n
    rng = np.random.default_rng(seed)
    dead = rng.uniform(size=n) < 0.4
    if dead.all():
        return
    live = [~part for part in template.layout.split(dead).values()]
    pairs = Pairs(tuple(block * np.outer(own, own) for block, own in zip(template.pairs.blocks, live, strict=True)))
    scores = dead_first(Scores(np.where(dead, 0, template.linear - 0.5), pairs, dead), rng.uniform(size=n))
    problem = PruningProblem(template.layout, scores.linear, scores.pairs, template.budget)
    keep, _ = polished(problem, repaired(problem, rng.uniform(size=n) < 0.5))
    assert not (dead & keep).any() or not (~dead & ~keep).any()


def test_dead_filters_with_larger_weights_stay_longer():
    scores = dead_first(Scores(np.array([0.0, 5.0, 0.0]), Pairs.none(), np.array([True, False, True])), np.array([2.0, 1.0, 1.0]))
    assert scores.linear[2] < scores.linear[0] < scores.linear[1] == 5


def test_scores_without_dead_filters_stay_as_they_are():
    scores = Scores(np.array([1.0, 2.0]), Pairs.none(), np.zeros(2, bool))
    assert dead_first(scores, np.ones(2)) is scores


def test_what_the_scorer_has_to_say_stays():
    scores = Scores(np.array([0.0, 5.0]), Pairs.none(), np.array([True, False]), {"programs": 3})
    assert dead_first(scores, np.ones(2)).notes == {"programs": 3}
