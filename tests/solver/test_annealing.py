import importlib.util

import dimod
import dwave.samplers
import numpy as np
import pytest
from dwave.samplers import SimulatedAnnealingSampler

from qprune_cli.errors import UserError
from qprune_cli.problem.budget import Budget
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Pairs
from qprune_cli.solver.annealing import Annealing
from qprune_cli.solver.greedy import Greedy
from qprune_cli.types import FilterGroup, Layout
from tests.conftest import all_masks, random_problem

QUICK = Annealing(reads=5, sweeps=100, steps=12)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_small_problems_are_solved_to_the_optimum(seed, signed):
    problem = random_problem(seed, signed=signed)
    masks = all_masks(problem.layout.n)
    best = problem.damage(masks[[problem.feasible(mask) for mask in masks]]).min()
    assert np.isclose(QUICK.solve(problem, seed).damage, best)


def test_without_couplings_it_equals_greedy_bit_for_bit():
    problem = random_problem(1, widths=(64,) * 4, budget=100)
    linear = PruningProblem(problem.layout, problem.linear, Pairs.none(), problem.budget)
    assert np.array_equal(QUICK.solve(linear, 0).keep, Greedy().solve(linear, 0).keep)


def test_a_count_that_no_capacity_reaches_is_still_met():
    # Three filters worth 1.0 against five worth 0.8, incompatible: keeping 4 is optimal at no capacity.
    layout = Layout((FilterGroup("a", "a", 8),))
    worth = np.array([1.0] * 3 + [0.8] * 5)
    block = np.zeros((8, 8))
    block[:3, 3:] = 10
    pairs = Pairs((block + block.T,))
    problem = PruningProblem(layout, worth - pairs.sums(8)[1], pairs, Budget.filters(layout, 4))
    solved = Annealing(reads=5, sweeps=100, steps=20).solve(problem, 0)
    assert solved.keep.sum() == 4
    assert not any(row["kept"] == 4 for row in solved.notes["trace"])
    assert solved.notes["repair"]["filters_changed"] > 0


def test_notes_hold_the_bisection_the_reads_and_the_repair():
    notes = QUICK.solve(random_problem(2), 0).notes
    assert {"alpha", "kept", "energy"} <= notes["trace"][0].keys()
    assert len(notes["reads"]["kept"]) == len(notes["reads"]["energy"]) == 5
    assert notes["repair"].keys() >= {"kept_before", "filters_changed", "swaps"}


@pytest.mark.parametrize("name", ["reads", "sweeps", "steps"])
def test_counts_below_one_are_refused(name):
    with pytest.raises(UserError, match=f"solver.{name}=0"):
        Annealing(**{name: 0})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"options": {"num_sweps": 3}},
            r"solver\.options\.num_sweps: .* has no such option; did you mean 'num_sweeps'\? Valid: beta_range",
        ),
        ({"sampler": "dwave.samplers.TabuSampler"}, r"solver\.sweeps: .*TabuSampler has no num_sweeps; set solver\.sweeps=null"),
        ({"sampler": "dwave.samplers.Tabu"}, r"solver\.sampler=dwave\.samplers\.Tabu: dwave\.samplers has no Tabu; give an import path"),
        ({"sampler": "no.such.Sampler"}, r"solver\.sampler=no\.such\.Sampler: no\.such cannot be imported; give an import path"),
        ({"sampler": "dimod.BinaryQuadraticModel"}, "not a sampler of dimod"),
    ],
)
def test_samplers_and_options_that_do_not_exist_are_refused(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        Annealing(**settings)


@pytest.mark.skipif(importlib.util.find_spec("dwave.system") is not None, reason="dwave-system is installed")
@pytest.mark.parametrize("sampler", ["dwave.system.DWaveSampler", "dwave.system.LeapHybridSampler"])
def test_a_machine_without_its_package_is_refused(sampler):
    with pytest.raises(UserError, match=r"pip install 'qprune\[dwave\]'"):
        Annealing(sampler=sampler, reads=None, sweeps=None)


def test_a_machine_that_cannot_be_reached_is_refused(monkeypatch):
    class NoToken(dimod.NullSampler):
        def __init__(self):
            raise ValueError("API token not defined")

    monkeypatch.setattr(dwave.samplers, "NoToken", NoToken, raising=False)
    with pytest.raises(UserError, match=r"no connection \(API token not defined\); put a token into DWAVE_API_TOKEN"):
        Annealing(sampler="dwave.samplers.NoToken", reads=None, sweeps=None)


def test_options_reach_the_sampler(monkeypatch):
    calls = []

    class Recorded(SimulatedAnnealingSampler):
        def sample(self, bqm, **options):
            calls.append(options)
            return super().sample(bqm, **options)

    monkeypatch.setattr(dwave.samplers, "Recorded", Recorded, raising=False)
    Annealing(sampler="dwave.samplers.Recorded", reads=2, steps=1, options={"beta_range": [0.1, 5.0]}).solve(random_problem(0), 0)
    assert calls[0].keys() == {"num_reads", "num_sweeps", "beta_range", "seed"}
    assert calls[0]["num_reads"] == 2 and calls[0]["beta_range"] == [0.1, 5.0]
