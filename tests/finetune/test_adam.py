"""Training on, network by network; whole runs are in tests/run/test_finetuning.py."""

from dataclasses import replace

import pytest
import torch

from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.errors import UserError
from qprune_cli.evaluate.task import task_of
from qprune_cli.finetune.none import NoFineTune
from qprune_cli.model.dncnn import DnCNN
from qprune_cli.train import adamw

QUICK = ["finetune.steps=6", "finetune.batch=2", "finetune.crop=16", "finetune.validate_every=2", "finetune.patience=0"]


def method(name="adam", *more):
    return compose_jobs("run", [f"finetune={name}", *QUICK, *more]).jobs[0].component("finetune")


def network(batchnorm=True):
    torch.manual_seed(0)
    return DnCNN(width=4, depth=3, batchnorm=batchnorm).build().eval()


def tuned(how, model, splits, place, teacher=None):
    rows = []
    return how.fit(model, teacher or model, dict, splits, 0, place / "state.safetensors", rows.append), rows


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def merit(model, splits):
    return float(task_of(splits).quality(model, splits.refinement).primary.mean())


@pytest.mark.parametrize("name", ["adam", "distill"])
def test_it_is_never_worse_on_the_refinement_images_and_leaves_its_network_alone(name, small_splits, tmp_path):
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found, rows = tuned(method(name), model, small_splits, tmp_path)
    assert same(before, model.state_dict()) and not found.model.training
    assert (
        [row.step for row in rows] == [0, 2, 4, 6] and rows[0].loss is None and rows[0].value == pytest.approx(merit(model, small_splits))
    )
    assert found.notes["best"]["value"] == max(row.value for row in rows) == pytest.approx(merit(found.model, small_splits))
    assert found.notes["stopped"] == "all steps done" and not found.notes["diverged"]


@pytest.mark.parametrize("mode", ["frozen", "train"])
def test_batchnorm_keeps_its_statistics_unless_asked(mode, small_splits, tmp_path, monkeypatch):
    values = iter([20.0, 21.0, 22.0, 23.0])
    monkeypatch.setattr(adamw, "mean_measure", lambda *_, **__: next(values))
    model = network()
    found, _ = tuned(method("adam", f"finetune.bn={mode}", "finetune.average=0"), model, small_splits, tmp_path)
    names = [name for name in model.state_dict() if "running" in name]
    assert names and found.notes["best"]["step"] > 0
    stayed = all(torch.equal(model.state_dict()[name], found.model.state_dict()[name]) for name in names)
    assert stayed == (mode == "frozen")


def test_weights_that_it_began_with_are_kept_where_none_is_better(small_splits, tmp_path, monkeypatch):
    values = iter([30.0, 29.0, 28.0, 27.0])
    monkeypatch.setattr(adamw, "mean_measure", lambda *_, **__: next(values))
    model = network()
    found, _ = tuned(method(), model, small_splits, tmp_path)
    assert same(model.state_dict(), found.model.state_dict()) and found.notes["best"] == {"step": 0, "value": 30.0}


def test_it_stops_early_and_says_so(small_splits, tmp_path, monkeypatch):
    values = iter([30.0, 31.0, 28.0, 27.0])
    monkeypatch.setattr(adamw, "mean_measure", lambda *_, **__: next(values))
    found, rows = tuned(replace(method(), steps=100, patience=2), network(), small_splits, tmp_path)
    assert [row.step for row in rows] == [0, 2, 4, 6] and found.notes["stopped"] == "nothing better after 2 more validations"


@pytest.mark.parametrize("after", [1, 3])
def test_a_training_that_diverges_keeps_the_best_weights_and_says_why(after, small_splits, tmp_path, monkeypatch):
    plain, updates = adamw.AdamW._update, []

    def broken(self, state, *args):
        plain(self, state, *args)
        updates.append(state.step)
        if len(updates) > after:
            state.losses[-1] = torch.tensor(float("nan"))

    monkeypatch.setattr(adamw.AdamW, "_update", broken)
    model = network()
    found, rows = tuned(method(), model, small_splits, tmp_path)
    assert found.notes["diverged"] and "the loss is no longer finite at step" in found.notes["stopped"]
    assert "lower finetune.lr" in found.notes["stopped"] and [row.step for row in rows] == ([0] if after == 1 else [0, 2])
    assert merit(found.model, small_splits) == pytest.approx(max(row.value for row in rows))


def test_a_state_saved_between_validations_is_gone_on_from_exactly(small_splits, tmp_path, monkeypatch):
    how = replace(method(), steps=5, validate_every=5)
    whole, rows = tuned(how, network(), small_splits, tmp_path)
    monkeypatch.setattr(adamw, "SAVE_AFTER", -1.0)
    plain = adamw.AdamW._update

    def killed(self, state, *args):
        if state.step == 3:
            raise KeyboardInterrupt
        plain(self, state, *args)

    place = tmp_path / "killed"
    place.mkdir()
    monkeypatch.setattr(adamw.AdamW, "_update", killed)
    with pytest.raises(KeyboardInterrupt):
        tuned(how, network(), small_splits, place)
    monkeypatch.setattr(adamw.AdamW, "_update", plain)
    resumed, again = tuned(how, network(), small_splits, place)
    assert same(whole.model.state_dict(), resumed.model.state_dict()) and rows == again


def test_nothing_is_the_very_network(small_splits, tmp_path):
    model = network()
    found, rows = tuned(NoFineTune(), model, small_splits, tmp_path)
    assert found.model is model and not found.notes and not rows and NoFineTune().share(1, 4) == NoFineTune()


def test_rounds_share_the_steps():
    assert [method("adam", "finetune.steps=103").share(part, 4).steps for part in (1, 2, 3, 4)] == [25, 26, 26, 26]
    assert method().share(1, 100).steps == 1


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("steps=0", "finetune.steps=0: give a whole number"),
        ("lr=0", "finetune.lr=0.0: give a positive number"),
        ("bn=frzen", "finetune.bn=frzen: no such mode; did you mean 'frozen'"),
        ("teacher=1.5", "finetune.teacher=1.5: give the share"),
        ("features=-1", "finetune.features=-1.0: give a number"),
        ("temperature=0", "finetune.temperature=0.0: give a positive"),
        ("loss=huber", "finetune.loss=huber: no such loss"),
        ("precision=half", "finetune.precision=half: no such precision"),
    ],
)
def test_bad_settings_get_one_sentence(setting, said):
    with pytest.raises(UserError, match="^" + said.replace(".", r"\.")):
        method("adam", f"finetune.{setting}")
