"""From the settings to the budgets, and that no network that is built exceeds one."""

from dataclasses import replace

import numpy as np
import pytest

from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.cost.cost import footprint_of
from qprune_cli.errors import UserError
from qprune_cli.problem.local_search import repaired
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.run.budgets import budgets, kept_layers, spending
from qprune_cli.run.plan import RunPlan
from qprune_cli.scores import Pairs
from qprune_cli.surgery.shrink import shrink

SHAPE = (3, 64, 64)


@pytest.fixture(scope="module")
def asked():
    return RunPlan.of(compose_jobs("run", ["model=half_unet_small"]).jobs[0]).settings


def test_rounds_leave_the_same_share_each_and_end_at_what_was_asked(asked, small_model, small_layout):
    found = budgets(replace(asked, sparsity=0.75, rounds=3), small_model, small_layout, SHAPE)
    n = small_layout.n
    assert [one.limit for one in found] == [round(n * 0.25 ** (k / 3)) for k in (1, 2, 3)]
    (params,) = {one.name for one in budgets(replace(asked, budget="params", rounds=2), small_model, small_layout, SHAPE)}
    assert params == "params"


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("name", ["params", "macs"])
@pytest.mark.parametrize(("sparsity", "round_to"), [(0.2, 1), (0.5, 1), (0.5, 2), (0.8, 1)])
@pytest.mark.slow
def test_the_smaller_network_never_exceeds_its_budget_and_nothing_more_fits(
    name, scope, sparsity, round_to, asked, small_model, small_layout
):
    (budget,) = budgets(replace(asked, budget=name, scope=scope, sparsity=sparsity, round_to=round_to), small_model, small_layout, SHAPE)
    dense = getattr(footprint_of(small_model, SHAPE), name)
    linear = np.random.default_rng(0).uniform(size=small_layout.n)
    problem = PruningProblem(small_layout, linear, Pairs.none(), budget)
    keep = repaired(problem, np.ones(small_layout.n, bool))
    assert problem.feasible(keep)
    size = getattr(footprint_of(shrink(small_model, small_layout, keep), SHAPE), name)
    assert size == budget.spent(keep) <= (1 - sparsity) * dense
    if round_to == 1:
        for i in np.flatnonzero(~keep):
            more = keep.copy()
            more[i] = True
            assert not problem.feasible(more)


def test_every_layer_loses_the_same_share_where_the_scope_is_the_layer(asked, small_model, small_layout):
    (budget,) = budgets(replace(asked, scope="layer"), small_model, small_layout, SHAPE)
    assert budget.limit == small_layout.n / 2 and all(options.tolist() == [3] for options in budget.counts)
    (rounded,) = budgets(replace(asked, scope="layer", sparsity=0.3, round_to=2), small_model, small_layout, SHAPE)
    assert abs(rounded.limit - 0.7 * small_layout.n) <= 1 and {int(options[0]) for options in rounded.counts} == {4, 6}


def test_what_latency_costs_is_predicted_for_any_mask(small_model, small_layout):
    predicted = spending("latency", small_model, small_layout, (3, 32, 32))
    assert all(np.isfinite(predicted(keep)) and predicted(keep) > 0 for keep in np.ones((1, small_layout.n), bool))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"budget": "macs", "sparsity": 0.99},
            r"MMACs may stay, but .* keep at least .* cannot be cut, such as head; lower sparsity to at most 0\.",
        ),
        ({"budget": "params", "sparsity": 0.95, "limits": {"decoder.0.conv": [6, 6]}}, r"because of what decoder\.0\.conv \(6 filters\)"),
        ({"sparsity": 0.9, "limits": {"encoder.*": [5, 6]}}, r"most of them in encoder\.0\.0\.conv \(5\)"),
        ({"sparsity": 0.1, "limits": {"encoder.*": [1, 3]}}, r"keep at most .* because of encoder"),
        ({"limits": {"coder": [1, 2]}}, "limits: coder: no such layer; did you mean"),
        ({"limits": {"decoder.*": [3, 3]}, "round_to": 2}, r"no multiple of round_to=2 lies there"),
        ({"limits": {"decoder.*": [9, 12]}}, r"limits: decoder\.\*: layer .* is to keep 9 filters and has 6"),
    ],
)
def test_what_no_mask_can_meet_is_refused_and_the_layers_that_bind_are_named(settings, message, asked, small_model, small_layout):
    with pytest.raises(UserError, match=message):
        budgets(replace(asked, **settings), small_model, small_layout, SHAPE)


def test_include_and_exclude_say_which_layers_lose_filters(asked, small_layout):
    layers = [group.layer for group in small_layout.groups]
    assert kept_layers(asked, layers) == ()
    kept = kept_layers(replace(asked, include=("encoder.*",), exclude=("encoder.0.*",)), layers)
    assert set(layers) - set(kept) == {layer for layer in layers if layer.startswith("encoder.") and not layer.startswith("encoder.0.")}
    with pytest.raises(UserError, match=r"exclude=head\.\*: no such layer"):
        kept_layers(replace(asked, exclude=("head.*",)), layers)


def test_a_score_that_is_not_finite_names_its_layer(small_layout, asked, small_model):
    (budget,) = budgets(asked, small_model, small_layout, SHAPE)
    linear = np.zeros(small_layout.n)
    linear[-1] = np.nan
    with pytest.raises(UserError, match=rf"layer '{small_layout.groups[-1].layer}': its scores are not finite"):
        PruningProblem(small_layout, linear, Pairs.none(), budget)
