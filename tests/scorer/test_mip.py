"""Scores by programs, from images to numbers."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.cost.cost import Cost
from qprune_cli.embedding.programs import joint_limit, layer_limits
from qprune_cli.errors import StructureError, UserError
from qprune_cli.graph.trace import trace
from qprune_cli.scorer.mip import Mip, notes_of
from qprune_cli.types import ImageSet, Pair, Splits
from tests.blobs import Blobs, blobs, taught

QUICK = Mip(lambdas=(5.0,), images=2, outputs=200, jobs=1, backend="sequential", seconds=600.0)
JOINT = replace(QUICK, mode="joint", images=1, relu="relaxed", patch=6)


@pytest.fixture(scope="module")
def dense():
    model = taught(convolutions=False, steps=30)
    return model, trace(model, torch.zeros(1, 1, 8, 8)), Blobs().load(0)


@pytest.fixture(scope="module")
def convolutional():
    model = taught(convolutions=True, steps=30)
    return model, trace(model, torch.zeros(1, 1, 8, 8)), Blobs().load(0)


@pytest.fixture(scope="module")
def denoiser():
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
        nn.Conv2d(4, 1, 3, padding=1),
    ).eval()
    rng = np.random.default_rng(0)
    pairs = tuple(Pair(f"{k}", *rng.uniform(size=(2, 1, 12, 12)).astype(np.float32)) for k in range(4))
    return model, trace(model), Splits(None, ImageSet(pairs), ImageSet(pairs), ImageSet(pairs))


def within(scores, layout):
    assert scores.linear.shape == (layout.n,) and np.isfinite(scores.linear).all()
    live = ~scores.dead
    assert live.any() and scores.linear[live].min() >= 0 and scores.linear.max() <= 1 + 2e-3
    if scores.dead.any():
        assert scores.linear[scores.dead].max() < scores.linear[live].min()
    return scores


@pytest.mark.parametrize("loss", ["auto", "margin", "softmax", "l1", "l2"])
@pytest.mark.parametrize("mode", ["decoupled", "joint", "by_class"])
def test_classifier_is_scored_in_every_mode_by_every_loss(dense, mode, loss):
    scorer = replace(QUICK if mode == "decoupled" else JOINT, mode=mode, loss=loss)
    scores = within(scorer.score(*dense, seed=0), dense[1])
    assert scores.notes["mode"] == mode and scores.notes["loss"] == ("softmax" if loss == "auto" else loss)
    names = [row["program"] for row in scores.notes["programs"]]
    assert names == {"decoupled": ["1", "3"], "joint": ["network"], "by_class": ["class 0", "class 1", "class 2"]}[mode]


@pytest.mark.parametrize("head", ["tangent", "probe"])
@pytest.mark.parametrize("loss", ["margin", "softmax"])
def test_convolutional_classifier_is_scored_behind_either_head(convolutional, loss, head):
    scores = within(replace(QUICK, loss=loss, head=head).score(*convolutional, seed=0), convolutional[1])
    assert len(scores.notes["programs"]) == 3 and scores.notes["samples"] == 6


def test_convolutional_classifier_is_scored_as_a_whole(convolutional):
    scores = within(replace(JOINT, loss="margin").score(*convolutional, seed=0), convolutional[1])
    assert scores.notes["samples"] == 3 and "warnings" not in scores.notes


@pytest.mark.parametrize("loss", ["auto", "l1", "l2"])
@pytest.mark.parametrize("mode", ["decoupled", "joint"])
def test_denoiser_is_scored(denoiser, mode, loss):
    scores = within(replace(QUICK if mode == "decoupled" else JOINT, loss=loss).score(*denoiser, seed=0), denoiser[1])
    assert scores.notes["loss"] == ("l1" if loss == "auto" else loss)


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_half_unet_is_scored_layer_by_layer(small_model, small_layout, small_splits, loss):
    scores = within(replace(QUICK, loss=loss).score(small_model, small_layout, small_splits, seed=0), small_layout)
    assert len(scores.notes["programs"]) == len(small_layout.groups) and all(row["error"] < 1e-4 for row in scores.notes["programs"])
    assert not any(row["binaries"] for row in scores.notes["programs"])


def test_dearer_loss_keeps_more(dense):
    cheap, dear = (replace(QUICK, loss="l1", lambdas=(price,)).score(*dense, seed=0).linear.mean() for price in (0.1, 100.0))
    assert cheap < dear - 0.2


def test_filter_that_nobody_reads_gets_the_lowest_score(denoiser):
    model, layout, splits = denoiser
    weight = model[2].weight.detach().clone()
    with torch.no_grad():
        model[2].weight[:, 1] = 0
    try:
        for scorer in (QUICK, replace(JOINT, loss="l1")):
            scores = replace(scorer, lambdas=(100.0,)).score(model, layout, splits, seed=0)
            live = ~scores.dead[:4]
            assert live[1] and scores.linear[:4][1] < 2e-3 and scores.linear[:4][live].argmin() == 1
    finally:
        with torch.no_grad():
            model[2].weight.copy_(weight)


def test_dead_filters_get_the_lowest_scores(dense):
    model, layout, splits = dense
    bias = model[1].bias.detach().clone()
    with torch.no_grad():
        model[1].bias[[2, 5]] = -100
    try:
        for scorer in (QUICK, replace(JOINT, loss="margin")):
            scores = scorer.score(model, layout, splits, seed=0)
            assert scores.dead[[2, 5]].all() and scores.linear[[2, 5]].max() < scores.linear[~scores.dead].min()
    finally:
        with torch.no_grad():
            model[1].bias.copy_(bias)


@pytest.mark.parametrize("mode", ["decoupled", "joint", "by_class"])
def test_scores_are_repeatable_by_seed(dense, mode):
    scorer = replace(QUICK if mode == "decoupled" else JOINT, mode=mode, loss="margin")
    first, again, other = (scorer.score(*dense, seed=seed).linear for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_scoring_leaves_the_network_alone(convolutional):
    model, layout, splits = convolutional
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for scorer in (QUICK, JOINT):
        scorer.score(model, layout, splits, seed=0, keep=np.arange(layout.n) % 3 > 0)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()) and not model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_dropped_filters_of_a_mask_have_no_score_in_a_program_of_the_network(dense):
    model, layout, splits = dense
    keep = np.arange(layout.n) % 3 > 0
    scores = replace(JOINT, loss="margin", lambdas=(50.0,)).score(model, layout, splits, seed=0, keep=keep)
    assert scores.linear[~keep].max() < 2e-3 and scores.linear[keep].max() > 0.1


def test_binary_scores_keep_the_number_of_filters(dense):
    model, layout, splits = dense
    scores = replace(JOINT, scores="binary", loss="margin", sparsity=0.6).score(model, layout, splits, seed=0)
    assert "warnings" not in scores.notes and scores.notes["programs"][0]["mean_score"] == pytest.approx(0.4)
    assert set((scores.linear[~scores.dead] + 0.5).astype(int)) <= {0, 1} and (scores.linear > 0.5).sum() <= round(0.4 * layout.n)
    each = replace(QUICK, scores="binary", sparsity=0.5).score(model, layout, splits, seed=0)
    assert [row["mean_score"] for row in each.notes["programs"]] == pytest.approx([0.5, 0.5])  # dead ones count as well


@pytest.mark.parametrize("mode", ["decoupled", "joint"])
def test_binary_scores_stay_within_the_budget_of_parameters(dense, mode):
    model, layout, splits = dense
    scorer = replace(QUICK if mode == "decoupled" else JOINT, mode=mode, scores="binary", loss="margin", budget="params", sparsity=0.5)
    scorer = replace(scorer, gap=0.3)
    scores = scorer.score(model, layout, splits, seed=0)
    cost = Cost(model, layout, layout.shape[1:])
    params = [cost.footprint(keep).params for keep in (scores.linear > 0.5, np.ones(layout.n, bool))]
    assert "warnings" not in scores.notes and params[0] <= 0.5 * params[1] and (scores.linear > 0.5).any()


def test_limits_state_what_may_stay(convolutional):
    model, layout, _ = convolutional
    assert layer_limits(model, layout, 0.5, None) == [None, None, None]
    assert [limit.kept for limit in layer_limits(model, layout, 0.5, "filters")] == [3, 4, 5]
    assert joint_limit(model, layout, 0.5, "filters").kept == 12
    cost = Cost(model, layout, layout.shape[1:])
    kept = [limit.kept for limit in layer_limits(model, layout, 0.5, "params")]
    keep = np.concatenate([np.arange(group.channels) < k for group, k in zip(layout.groups, kept, strict=True)])
    assert cost.footprint(keep).params <= 0.5 * cost.footprint(np.ones(layout.n, bool)).params
    limit = joint_limit(model, layout, 0.5, "params")
    assert limit.spend == 0.5 * cost.footprint(np.ones(layout.n, bool)).params
    for seed in range(5):  # a chain: the model of its cost is exact
        mask = np.random.default_rng(seed).random(layout.n) < 0.6
        counts = np.bincount(layout.layer_of, weights=mask)
        assert limit.prices.cost(counts) == pytest.approx(cost.footprint(mask).params, rel=1e-6)


@pytest.mark.parametrize(("setting", "value"), [("loss", "margin"), ("loss", "softmax"), ("mode", "by_class")])
def test_labels_are_asked_for_where_there_are_none(denoiser, setting, value):
    with pytest.raises(UserError, match=rf"scorer.{setting}={value}: these images have no (labels|classes)"):
        replace(QUICK, **{setting: value}).score(*denoiser, seed=0)


@pytest.mark.parametrize("unknown", [nn.GELU(), nn.Sigmoid()], ids=str)
def test_operation_without_a_formulation_is_refused_by_name_and_scored_layer_by_layer(unknown):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), unknown, nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    layout, splits = trace(model, torch.zeros(1, 1, 8, 8)), Blobs().load(0)
    with pytest.raises(StructureError, match=rf"operation '{type(unknown).__name__}' at '2'.*scorer.mode=decoupled"):
        JOINT.score(model, layout, splits, seed=0)
    for loss in ("softmax", "l1"):
        within(replace(QUICK, loss=loss).score(model, layout, splits, seed=0), layout)
    within(replace(QUICK, head="probe").score(model, layout, splits, seed=0), layout)


def test_published_formulation_is_scored(dense):
    scorer = replace(JOINT, gate="published", loss="softmax", sparsity_term="published")
    scores = within(scorer.score(*dense, seed=0), dense[1])
    assert scores.notes["programs"][0]["status"] == "optimal"


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("mode", "decopled", "did you mean 'decoupled'"),
        ("head", "linear", "no such head"),
        ("gate", "valld", "did you mean 'valid'"),
        ("relu", "none", "no such relu"),
        ("loss", "mse", "no such loss"),
        ("sparsity_term", "l0", "no such sparsity_term"),
        ("scores", "ternary", "no such scores"),
        ("lambdas", (), "at least one price"),
        ("lambdas", (1.0, -1.0), "above 0"),
        ("lambdas", (float("nan"),), "above 0"),
        ("lambdas", (1e30,), r"at most 1e\+09"),
        ("images", 0, "at least 1"),
        ("patch", 0, "at least 1"),
        ("outputs", 0, "at least 1"),
        ("epsilon", -1e-5, "at least 0"),
        ("tighten", -1.0, "at least 0"),
        ("seconds", 0.0, "above 0"),
        ("seconds", float("inf"), "above 0"),
        ("seconds", 1e30, r"at most 1e\+09"),
        ("gap", -0.1, "at least 0"),
        ("sparsity", 1.0, r"follows sparsity: .* in \[0, 1\)"),
        ("jobs", 0, "at least 1, or -1"),
        ("backend", "mpi", "no such backend"),
    ],
)
def test_bad_setting_is_one_sentence(setting, value, said):
    with pytest.raises(UserError, match=said) as caught:
        replace(QUICK, **{setting: value})
    assert str(caught.value).startswith(f"scorer.{setting}=") and "\n" not in str(caught.value)


def test_binary_scores_cannot_meet_other_budgets():
    replace(QUICK, budget="macs")
    with pytest.raises(UserError, match=r"scorer.scores=binary: .* not budget=latency"):
        replace(QUICK, scores="binary", budget="latency")


def test_missing_scip_is_one_sentence(monkeypatch, dense):
    monkeypatch.setitem(sys.modules, "pyscipopt", None)
    with pytest.raises(UserError, match="SCIP cannot be loaded"):
        QUICK.score(*dense, seed=0)


def test_program_out_of_time_falls_back_and_warns(dense):
    scorer = replace(JOINT, relu="binary", scores="binary", images=4, seconds=1e-3)
    scores = within(scorer.score(*dense, seed=0), dense[1])
    assert any("the linear program instead, with continuous scores" in warning for warning in scores.notes["warnings"])


def test_warnings_count_programs_that_fell_back_or_were_left_open():
    row = {"program": "a", "status": "optimal", "gap": 0.0, "objective": None, "mean_score": 0.5}
    late, open_ = (
        row | {"status": "timelimit", "fallback": {"scores": "continuous", "relu": "relaxed", "loss": "margin"}},
        row | {"status": "timelimit", "gap": 0.25},
    )
    assert "warnings" not in notes_of("joint", "l1", 3, [row, row | {"status": "gaplimit"}])
    first, second = notes_of("joint", "l1", 3, [row, late, open_])["warnings"]
    assert first.startswith("1 of 3 programs were given up (a found no solution: timelimit)") and "gap of up to 0.25" in second
    (nothing,) = notes_of("joint", "l1", 3, [row | {"mean_score": 0.0}])["warnings"]
    assert "raise scorer.lambdas" in nothing


def test_images_of_each_class_are_taken_in_equal_numbers(dense):
    model, layout, splits = dense
    scores = replace(QUICK, images=4).score(model, layout, splits, seed=0)
    assert scores.notes["samples"] == 12
    few = replace(splits, calibration=blobs(4, 0))
    assert replace(QUICK, images=4).score(model, layout, few, seed=0).notes["samples"] == 4
