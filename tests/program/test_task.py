"""Tasks: side by side or one after another, in time or not, each says how it went."""

import importlib.util
import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest

from qprune_cli.errors import UserError
from qprune_cli.program import task as program_task
from qprune_cli.program import workers as program_workers
from qprune_cli.program.build import Formulation, Limit
from qprune_cli.program.network import simulate
from qprune_cli.program.solve import Solved
from qprune_cli.program.task import JointTask, LayerTask, SolveSettings
from qprune_cli.program.workers import check_workers, solve_all
from tests.program.networks import random_mlp, samples

SETTINGS = SolveSettings((1.0, 5.0), 20.0, 1e-4)


def layer_task(seed, loss="l1", settings=SETTINGS, **formulation):
    rng = np.random.default_rng(seed)
    columns, base = rng.normal(size=(20, 5)), rng.normal(size=20)
    targets = rng.integers(0, 4, 5) if loss in ("margin", "softmax") else base + columns.sum(axis=1)
    return LayerTask(f"layer{seed}", columns, base, targets, Formulation(loss=loss, **formulation), 5, None, settings)


def joint_task(seed, sizes=(5, 6, 4, 3), count=3, limit=None, settings=SETTINGS, **formulation):
    network, x = random_mlp(seed, sizes), samples(seed, count, sizes[0])
    targets = simulate(network, x, np.ones(network.n))[-1].argmax(axis=1)
    return JointTask("network", network, x, targets, Formulation(**formulation), np.ones(network.n, bool), limit, settings)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_side_by_side_gives_what_one_after_another_gives(backend):
    tasks = [layer_task(0), layer_task(1, "softmax"), layer_task(2, "l2"), joint_task(0)]
    together, alone = solve_all(tasks, 2, backend, None), solve_all(tasks, 1, "sequential", None)
    for first, second in zip(together, alone, strict=True):
        assert np.array_equal(first.scores, second.scores)
        assert [row | {"seconds": 0} for row in first.notes] == [row | {"seconds": 0} for row in second.notes]
    assert [result.notes[0]["program"] for result in together] == ["layer0", "layer1", "layer2", "network"]


@pytest.mark.slow
def test_dask_gives_the_same():
    pytest.importorskip("distributed")
    tasks = [layer_task(0), layer_task(1, "l2")]
    far, near = solve_all(tasks, 2, "dask", None), solve_all(tasks, 1, "sequential", None)
    assert all(np.array_equal(first.scores, second.scores) for first, second in zip(far, near, strict=True))


@pytest.mark.slow
def test_scheduler_that_does_not_answer_is_one_sentence(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(program_workers, "CONNECT", 1.0)
    with pytest.raises(UserError, match=r"scorer.cluster=tcp://127.0.0.1:9: no scheduler answers there"):
        solve_all([layer_task(0), layer_task(1)], 2, "dask", "tcp://127.0.0.1:9")


def test_scores_are_the_mean_over_the_prices():
    whole = layer_task(3).solve()
    each = [layer_task(3, settings=replace(SETTINGS, lambdas=(price,))).solve() for price in SETTINGS.lambdas]
    assert np.allclose(whole.scores, np.mean([one.scores for one in each], axis=0), atol=1e-6)
    assert [row["lambda"] for row in whole.notes] == [1.0, 5.0] and len(whole.notes) == 2


def test_notes_say_how_large_the_program_is_and_how_it_ended():
    (row, _) = joint_task(0).solve().notes
    assert row["status"] == "optimal" and row["gap"] <= 1e-4 and row["bound"] <= row["objective"] + 1e-6
    assert row["binaries"] > 0 and row["variables"] > row["binaries"] and row["rows"] > 0 and row["nodes"] >= 0
    assert 0 <= row["mean_score"] <= 1 and "fallback" not in row


def test_error_of_a_program_against_the_network_is_noted():
    whole = replace(SETTINGS, lambdas=(1e4,))
    assert all(row["error"] < 1e-4 for row in layer_task(0).solve().notes)
    exact = joint_task(0, scores="binary", settings=whole, loss="margin").solve()
    assert exact.notes[0]["error"] < 1e-4
    loose = joint_task(0, relu="relaxed", gate="published", settings=replace(SETTINGS, lambdas=(0.1,))).solve()
    assert loose.notes[0]["error"] > 0.1


def test_scores_lie_between_0_and_1():
    for task in (layer_task(0), layer_task(1, "margin"), joint_task(1), joint_task(1, gate="published", loss="softmax")):
        scores = task.solve().scores
        assert scores.shape in ((5,), (10,)) and scores.min() >= 0 and scores.max() <= 1


def test_program_that_is_out_of_time_takes_the_scores_of_the_linear_program():
    short = SolveSettings((5.0,), 1e-3, 0.0)
    task = joint_task(0, (12, 16, 12, 4), 6, Limit(kept=10), short, scores="binary", loss="softmax")
    result = task.solve()
    assert result.notes[0]["fallback"]["scores"] == "continuous" and result.notes[0]["status"] == "timelimit"
    linear = replace(task, formulation=Formulation(relu="relaxed"), limit=None, settings=SolveSettings((5.0,), 60.0, 0.0)).solve()
    assert result.scores.sum() == pytest.approx(linear.scores.sum(), abs=1e-3) and "fallback" not in linear.notes[0]
    assert result.scores.min() >= 0 and result.scores.max() <= 1


def test_published_gate_that_cannot_keep_so_few_takes_the_scores_of_the_linear_program():
    # units that are all active cannot be silenced with the published gate
    task = joint_task(0, limit=Limit(kept=1), gate="published", scores="binary")
    positive = [
        replace(op, matrices=(abs(op.matrices[0]),), constant=np.abs(op.constant)) if op.kind == "linear" else op for op in task.network.ops
    ]
    task = replace(task, network=replace(task.network, ops=tuple(positive)))
    result = task.solve()
    assert all(row["status"] == "infeasible" and row["fallback"] for row in result.notes)
    assert result.scores.min() >= 0 and result.scores.max() <= 1
    kept = replace(task, formulation=replace(task.formulation, gate="valid")).solve()
    assert not any("fallback" in row for row in kept.notes) and kept.scores.sum() == pytest.approx(1)


def test_binary_scores_that_are_found_meet_the_count():
    result = joint_task(1, limit=Limit(kept=4), scores="binary", settings=replace(SETTINGS, lambdas=(5.0,))).solve()
    assert np.allclose(result.scores, result.scores.round(), atol=1e-6) and result.scores.sum() == pytest.approx(4)


def test_start_that_is_as_good_as_the_gap_asks_for_is_no_reason_to_fall_back():
    task = layer_task(0, "softmax", settings=SolveSettings((5.0,), 20.0, 1e9), scores="binary")
    (row,) = replace(task, limit=Limit(kept=2)).solve().notes
    assert row["status"] == "gaplimit" and "fallback" not in row and row["mean_score"] == pytest.approx(0.4)


def test_program_without_any_answer_is_one_sentence(monkeypatch):
    nothing = Solved(None, "timelimit", None, None, 0, 0.0)
    monkeypatch.setattr(program_task, "solve", lambda *_: nothing)
    monkeypatch.setattr(program_task, "solve_linear", lambda *_: nothing)
    with pytest.raises(UserError, match=r"scorer.seconds=20: neither the program of layer0 .* scorer.mode=decoupled"):
        layer_task(0).solve()


def test_tasks_travel():
    task = pickle.loads(pickle.dumps(joint_task(0)))
    assert np.array_equal(task.solve().scores, joint_task(0).solve().scores)


@pytest.mark.parametrize("loss", ["margin", "softmax", "l1", "l2"])
def test_answer_is_repeatable(loss):
    first, second = (layer_task(4, loss).solve() for _ in range(2))
    assert np.array_equal(first.scores, second.scores)


@pytest.mark.parametrize(
    ("jobs", "backend", "sentence"),
    [(0, "loky", "scorer.jobs=0"), (-2, "loky", "scorer.jobs=-2"), (1, "lokky", "did you mean 'loky'"), (1, "mpi", "no such backend")],
)
def test_workers_that_do_not_exist_are_refused(jobs, backend, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        check_workers(jobs, backend)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_missing_package_of_a_backend_is_one_sentence(monkeypatch, backend, package):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=f"scorer.backend={backend}: {package} is not installed; pip install {package}"):
        check_workers(1, backend)


def test_missing_scip_is_one_sentence_from_a_task(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyscipopt", None)
    with pytest.raises(UserError, match="SCIP cannot be loaded"):
        solve_all([layer_task(0)], 1, "loky", None)
