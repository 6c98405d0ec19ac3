"""Whole transfers between two splits of the embedded digits, with trainings of a few steps."""

import csv
import json
from functools import partial

import numpy as np
import pytest
import torch
import yaml

from qprune_cli import cli
from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.compose.repeat import repeated
from qprune_cli.errors import UserError
from qprune_cli.evaluate.classification import Classification
from qprune_cli.graph.trace import trace
from qprune_cli.record.folder import Folder
from qprune_cli.record.transfer import transfer_table, write_transfer
from qprune_cli.run.plan import RunPlan
from qprune_cli.run.transfer import choose
from qprune_cli.surgery.silence import silence
from qprune_cli.transfer.retrain import Retrain, ticket
from qprune_cli.types import Retrained
from tests.images.labelled_files import write_idx
from tests.runs import carried_out, made_once, only_run

FEW = ["transfer.steps=8", "transfer.batch=32", "transfer.seeds=2", "latency=false", "fidelity=0"]
OTHER = ["data@transfer.data=digits", "transfer.data.seed=1", "transfer.data.test_images=60"]
HERE = ["data=digits", "data.test_images=60", "model=mlp", "scorer=taylor", "solver=greedy", "compensate=none"]
RUN = [*HERE, "transfer=retrain", *OTHER, *FEW]
NAMES = ["transferred", "random", "l1", "dense", "own"]


def rows_of(folder):
    with (folder / "transfer.csv").open() as file:
        return list(csv.DictReader(file))


def planned(*words):
    return RunPlan.of(compose_jobs("run", [*RUN, *words]).jobs[0])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    words = ["run", *RUN, "budget=params", "seed=3"]
    return only_run(made_once(tmp_path_factory, "transferred", lambda folder: carried_out(*words, f"output_root={folder}")))


def compared(plan, monkeypatch, fit):
    """Rows of a transfer whose trainings are replaced; they say which network they were given."""
    splits = plan.data.load(0)
    monkeypatch.setattr(Retrain, "fit", lambda self, begun, splits, seed: (fit(begun, splits, seed), 0.5))
    target = plan.transfer.load(plan.model.load(), 0)
    return list(plan.transfer.compare(plan.model.build, partial(choose, plan), splits, target, 0, torch.device("cpu"))), splits, target


@pytest.mark.slow
def test_a_row_for_every_seed_and_network_with_at_most_the_same_budget(finished):
    rows = rows_of(finished)
    assert [(row["seed"], row["network"]) for row in rows] == [(seed, name) for seed in "34" for name in NAMES]
    dense = {int(row["params"]) for row in rows if row["network"] == "dense"}
    assert dense == {50610}
    for row in rows:
        assert row["network"] == "dense" or 0.95 * 25305 < int(row["params"]) <= 25305
        assert 0 < float(row["accuracy"]) <= 1 and float(row["seconds"]) > 0


def test_a_budget_of_filters_is_met_exactly_by_every_mask(tmp_path):
    assert cli.dispatch(["run", *RUN, "transfer.seeds=1", "transfer.steps=3", f"output_root={tmp_path}"]) == 0
    folder = only_run(tmp_path)
    assert {row["network"]: int(row["filters"]) for row in rows_of(folder)} == dict.fromkeys(NAMES, 200) | {"dense": 400}
    told = json.loads((folder / "transfer.json").read_text())
    assert told["networks"]["dense"]["difference"]["ci95"] is None and told["seeds"] == [0]


def test_means_and_paired_differences_are_those_of_the_rows(finished):
    told, rows = json.loads((finished / "transfer.json").read_text()), rows_of(finished)
    assert told["measure"] == "accuracy" and told["seeds"] == [3, 4] and list(told["networks"]) == NAMES
    values = {name: np.array([float(row["accuracy"]) for row in rows if row["network"] == name]) for name in NAMES}
    assert "difference" not in told["networks"]["transferred"]
    for name in NAMES[1:]:
        difference = told["networks"][name]["difference"]
        change = values[name] - values["transferred"]
        assert difference["mean"] == pytest.approx(change.mean()) and difference["n"] == 2
        assert difference["ci95"][1] - difference["mean"] == pytest.approx(12.7062 * change.std(ddof=1) / np.sqrt(2), rel=1e-4)
    assert "transfer" in json.loads((finished / "manifest.json").read_text())["seconds"]


def test_every_training_begins_from_the_initialisation_of_its_seed_and_only_the_first_sees_the_images_of_the_run(monkeypatch):
    seen = []

    def fit(begun, splits, seed):
        seen.append((seed, splits.train.chosen, begun))
        return begun

    plan = planned()
    _, source, target = compared(plan, monkeypatch, fit)
    for seed in (0, 1):
        torch.manual_seed(seed)
        fresh = plan.model.build()
        first, *others = [one[1:] for one in seen if one[0] == seed]
        assert np.array_equal(first[0], source.train.chosen)
        assert all(np.array_equal(chosen, target.train.chosen) for chosen, _ in others)
        assert not np.array_equal(source.train.chosen, target.train.chosen)
        weights = fresh.body[1].weight
        for network in (first[1], others[3][1]):  # dense on both
            assert torch.equal(network.body[1].weight, weights)
        for k in (0, 1, 2, 4):
            kept = others[k][1].get_submodule("body.1").weight
            assert len(kept) < 300 and all((weights == row).all(dim=1).any() for row in kept)


def test_a_ticket_equals_the_silenced_initialisation_and_dropped_filters_stay_away_in_training():
    plan, rng = planned(), np.random.default_rng(0)
    torch.manual_seed(5)
    begun, splits = plan.model.build().eval(), plan.data.load(0)
    image = torch.from_numpy(splits.test.pairs[0].input)[None]
    layout = trace(begun, image)
    keep = rng.permutation(layout.n) < 150
    before = {name: tensor.clone() for name, tensor in begun.state_dict().items()}
    small = ticket(begun, layout, keep)
    with torch.no_grad(), silence(begun, layout, keep):
        assert torch.allclose(small(image), begun(image), atol=1e-5)
    trained, _ = plan.transfer.fit(small, splits, 0)
    shapes = [{name: tensor.shape for name, tensor in network.state_dict().items()} for network in (small, trained)]
    assert shapes[0] == shapes[1] and sum(trained.get_submodule(name).out_features for name in ("body.1", "body.3")) == 150
    assert all(torch.equal(tensor, before[name]) for name, tensor in begun.state_dict().items())
    assert not torch.equal(trained.get_submodule("body.1").weight, small.get_submodule("body.1").weight)


def test_the_mask_that_is_transferred_is_that_of_the_runs_scorer_on_the_run_s_images(monkeypatch):
    plan = planned("transfer.seeds=1")
    begun = []
    compared(plan, monkeypatch, lambda network, splits, seed: begun.append(network) or network)
    torch.manual_seed(0)
    layout, keep = choose(plan, plan.model.build(), plan.data.load(0), 0)
    kept = [int(mask.sum()) for mask in layout.masks(keep).values()]
    assert [begun[1].get_submodule(name).out_features for name in ("body.1", "body.3")] == kept


def test_a_run_without_transfer_writes_and_says_nothing(tmp_path, caplog):
    caplog.set_level("INFO", logger="qprune_cli")
    assert cli.dispatch(["run", *HERE, *FEW[-2:], f"output_root={tmp_path}"]) == 0
    assert not list(only_run(tmp_path).glob("transfer*")) and "other images" not in caplog.text


@pytest.mark.slow
def test_a_run_is_repeated_with_other_images_than_the_default(finished, tmp_path):
    job = repeated("run", finished, [])
    saved = yaml.safe_load((finished / "config.yaml").read_text())
    assert saved["transfer"]["data"]["_target_"].endswith("Digits") and job.settings["transfer"] == saved["transfer"]
    assert cli.dispatch(["run", "--from", str(finished), f"output_root={tmp_path}"]) == 0
    for row, again in zip(rows_of(finished), rows_of(only_run(tmp_path)), strict=True):
        assert row | {"seconds": ""} == again | {"seconds": ""}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["transfer.data.side=16"], "transfer.data.side=16: the run's images have 8; set transfer.data.side=8, or take other images with"),
        (["data@transfer.data=sample"], "transfer.data: has clean images, and the run's images have labels; take other images with"),
        (["transfer.data=digits"], "transfer.data=digits: choose a component with data@transfer.data=NAME"),
        (["transfer.data.classes=9"], "data.classes=9"),
        (["data@transfer.data=fashion_mnist"], "transfer.data.root: a value is required"),
        (["transfer.seeds=0"], "transfer.seeds=0: give a whole number, at least 1"),
        (["transfer.lr=0"], "transfer.lr=0.0: give a positive number"),
        (["transfer.weight_decay=-1"], "transfer.weight_decay=-1.0: give a number, at least 0"),
        (["transfer.baselines=[l1,l1_cosine]"], "transfer.baselines: two rows would be called l1"),
        (["transfer.baselines=[l2]"], "transfer.baselines: l2: no such scorer"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence_before_anything_is_written(words, said, tmp_path):
    others = [] if words[0].startswith("data@") else OTHER[:1]
    with pytest.raises(UserError) as caught:
        cli.dispatch(["run", *HERE, "transfer=retrain", *others, *words, f"output_root={tmp_path}"])
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_files_that_are_missing_are_named_before_anything_is_computed(tmp_path):
    words = ["data=digits", "data.side=28", "model=mlp", "transfer=retrain", f"transfer.data.root={tmp_path}"]
    plan = RunPlan.of(compose_jobs("run", words).jobs[0])
    with pytest.raises(UserError, match="train-images"):
        plan.transfer.load(plan.model.build(), 0)


def test_the_experiment_wants_weights_and_both_folders(tmp_path):
    root = write_idx(tmp_path / "idx")
    asked = ["run", "experiment=transfer", f"data.root={root}", f"output_root={tmp_path / 'out'}"]
    with pytest.raises(UserError, match=r"transfer\.data\.root: a value is required"):
        cli.dispatch(asked)
    with pytest.raises(UserError, match=r"model\.weights"):
        cli.dispatch([*asked, f"transfer.data.root={root}"])
    assert not (tmp_path / "out").exists()


def test_files_and_table_say_what_was_measured(tmp_path):
    task = Classification()
    rows = [
        Retrained(seed, name, value + seed / 100, 5, 100, 2.0) for seed in (0, 1) for name, value in (("transferred", 0.5), ("l1", 0.4))
    ]
    table = transfer_table(task, rows)
    assert "mean over 2 seeds" in table and "l1               40.50 %" in table and "-10.00 points, 95 % interval [-10.00, -10.00]" in table
    assert "interval" not in transfer_table(task, rows[:2]) and transfer_table(task, []) == ""
    write_transfer(Folder(tmp_path), task, rows)
    assert (tmp_path / "transfer.csv").read_text().splitlines()[1] == "0,transferred,0.5,5,100,2.0"
    assert json.loads((tmp_path / "transfer.json").read_text())["networks"]["l1"]["difference"]["mean"] == pytest.approx(-0.1)
