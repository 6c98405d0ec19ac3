from dataclasses import dataclass

import pytest

from qprune_cli.compare.keys import Keys, grouped, inside, row_keys
from qprune_cli.compare.settings import flat
from qprune_cli.errors import UserError
from tests.compare.folders import config


@dataclass
class Configured:
    settings: dict
    roles: tuple


def runs(*each):
    return [Configured(flat(settings), tuple(settings["components"])) for settings in each]


SWEEP = [config(solver, sparsity, seed) for solver in ("greedy_taylor", "hybrid_qubo") for sparsity in (0.5, 0.75) for seed in (0, 1)]


def test_rows_are_named_by_what_differs_beside_seeds():
    keys = row_keys(runs(*SWEEP))
    assert keys.shown == ("solver", "sparsity")  # not scorer.sparsity, which repeats it, nor scorer.beta, which comes with the scorer
    assert keys.follow == ("scorer",) and "scorer" in keys.lines()[0]


def test_a_scorer_that_the_solver_does_not_bring_is_shown():
    keys = row_keys(runs(config("swap"), config("swap", scorer="hybrid"), config("greedy", scorer="hybrid")))
    assert keys.shown == ("solver", "scorer") and not keys.follow


def test_a_setting_of_one_component_is_shown_where_it_differs():
    some = [config("hybrid_qubo", **{"scorer.beta": beta}) for beta in (0, 1)] + [config("greedy_taylor")]
    assert row_keys(runs(*some)).shown == ("solver", "scorer.beta")


def test_where_runs_were_computed_names_no_row():
    some = [config(device="cpu", output_root="a"), config(device="cuda", output_root="b", seed=1)]
    assert row_keys(runs(*some)).shown == () and row_keys(runs(config())).lines() == []


def test_sparsity_and_refinement_never_follow_a_solver():
    some = [config("greedy_taylor", 0.5), config("hybrid_qubo", 0.75, refine="sequential")]
    assert row_keys(runs(*some)).shown == ("solver", "refine", "sparsity")


def test_rows_are_sorted_and_numbers_by_size():
    some = runs(*[config("hybrid_qubo", **{"solver.reads": reads}) for reads in (100, 9, 20)])
    assert list(grouped(some, Keys(("solver.reads",)))) == [("9",), ("20",), ("100",)]


def test_by_names_rows_and_the_rest_is_said():
    some = runs(*[config("greedy_taylor", 0.5, seed, compensate=name) for seed in (0, 1) for name in ("ridge", "none")])
    keys = row_keys(some, ["solver", "sparsity"])
    groups = grouped(some, keys)
    assert [len(group) for group in groups.values()] == [4]
    assert inside(groups, keys) == ["rows average over compensate=none,ridge"]
    assert inside(grouped(runs(*SWEEP), keys), keys) == []


def test_rows_that_average_over_different_things_are_told():
    some = runs(config("greedy_taylor"), config("greedy_taylor", compensate="none"), config("hybrid_qubo"))
    keys = row_keys(some, ["solver"])
    assert inside(grouped(some, keys), keys)[1].startswith("not every row averages over the same")


def test_by_a_setting_that_no_run_has_is_refused():
    with pytest.raises(UserError, match="--by sparsty: no run has such a setting; did you mean 'sparsity'"):
        row_keys(runs(*SWEEP), ["sparsty"])
