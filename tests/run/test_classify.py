"""Classifiers go through the same commands as denoisers."""

import numpy as np
import pytest
import torch
import yaml

from qprune_cli import cli, prune
from qprune_cli.errors import UserError
from qprune_cli.use.load import load_run
from tests.blobs import blobs, taught
from tests.runs import BLOBS, OWN, QUICK, carried_out, made_once, only_run, read, rows_of

TRAIN = ["train", *BLOBS, "train.steps=60", "train.batch=32", "train.lr=0.03", "train.validate_every=20"]
RUN = ["run", *BLOBS, *QUICK]


def weights(folder):
    return f"model.weights={folder / 'model.safetensors'}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return only_run(made_once(tmp_path_factory, "trained", lambda folder: carried_out(*TRAIN, f"output_root={folder}")), "train")


@pytest.fixture(scope="module")
def trained_cnn(tmp_path_factory):
    words = [*TRAIN, "model.convolutions=true"]
    return only_run(made_once(tmp_path_factory, "trained_cnn", lambda folder: carried_out(*words, f"output_root={folder}")), "train")


@pytest.fixture(scope="module")
def finished(trained, tmp_path_factory):
    words = ["run", *BLOBS, "latency=false", "fidelity=6", weights(trained), "refine=sequential", "refine.evaluations=60"]
    return only_run(made_once(tmp_path_factory, "classifier", lambda folder: carried_out(*words, f"output_root={folder}")))


def test_training_learns_and_reports_accuracy(trained):
    rows = rows_of(trained, "training.csv")
    assert list(rows[0]) == ["step", "lr", "loss", "accuracy"] and [row["step"] for row in rows] == ["20", "40", "60"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) and float(rows[-1]["accuracy"]) > 0.8
    metrics = read(trained, "metrics.json")
    assert metrics["stages"]["dense"]["accuracy"]["mean"] > metrics["identity"]["accuracy"]["mean"] + 0.3
    assert yaml.safe_load((trained / "config.yaml").read_text())["train"]["loss"] == "cross_entropy"
    assert not (trained / "crops").exists()


def test_a_stopped_training_goes_on_to_the_same_weights(trained, tmp_path, monkeypatch):
    from qprune_cli.train.state import State

    save, calls = State.save, []

    def killed(self, path):
        save(self, path)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(State, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        cli.dispatch([*TRAIN, f"output_root={tmp_path}"])
    monkeypatch.setattr(State, "save", save)
    folder = only_run(tmp_path, "train")
    assert cli.dispatch(["train", "--resume", str(folder), "--config-dir", OWN]) == 0
    assert (folder / "model.safetensors").read_bytes()[-500:] == (trained / "model.safetensors").read_bytes()[-500:]
    assert rows_of(folder, "training.csv") == rows_of(trained, "training.csv")


def test_a_run_has_accuracy_at_every_stage_and_a_row_for_every_image(finished):
    metrics = read(finished, "metrics.json")
    assert list(metrics["stages"]) == ["dense", "solved", "refined", "compensated"]
    for stage in (metrics["identity"], *metrics["stages"].values()):
        for name in ("accuracy", "cross_entropy"):
            low, high = stage[name]["ci95"]
            assert low <= stage[name]["mean"] <= high and stage[name]["n"] == 60
    assert 0 < metrics["identity"]["accuracy"]["mean"] < metrics["stages"]["dense"]["accuracy"]["mean"] <= 1
    assert metrics["macs_definition"] == "multiply-accumulates of convolutions and linear layers for one image of shape [1, 8, 8]"
    assert metrics["stages"]["dense"]["macs"] == 64 * 12 + 12 * 8 + 8 * 3 and metrics["stages"]["compensated"]["filters"] == 10
    images = rows_of(finished, "images.csv")
    assert len(images) == 5 * 60 and list(images[0]) == ["image", "stage", "accuracy", "cross_entropy"]
    assert {row["accuracy"] for row in images} == {"0.0", "1.0"}
    assert not (finished / "crops").exists()


def test_tables_print_per_cent_and_the_majority(finished):
    log = (finished / "run.log").read_text()
    for text in ("accuracy", "cross-entropy", "majority", " % ", " points, 95 % interval [", " nats on the held-out images"):
        assert text in log
    assert " dB" not in log


def test_refinement_and_compensation_speak_of_the_log_likelihood(finished):
    assert "log_likelihood" in rows_of(finished, "trace.csv")[-1]
    gained = read(finished, "metrics.json")["refinement"]
    assert all(gained[part]["before"] < 0 for part in ("tuned", "held_out", "test"))
    assert gained["held_out"]["after"] >= gained["held_out"]["before"]
    assert "refinement_log_likelihood" in read(finished, "metrics.json")["compensation"]


@pytest.mark.parametrize(
    ("scorer", "budget"), [("hybrid", "macs"), ("leave_one_out", "params"), ("l1_cosine", "macs"), ("reconstruction", "params")]
)
@pytest.mark.slow
def test_convolutional_classifiers_meet_budgets_with_any_scorer(trained_cnn, tmp_path, scorer, budget):
    words = [*RUN, weights(trained_cnn), "model.convolutions=true", f"scorer={scorer}", f"budget={budget}", "sparsity=0.4"]
    assert cli.dispatch([*words, f"output_root={tmp_path}"]) == 0
    folder = only_run(tmp_path)
    stages = read(folder, "metrics.json")["stages"]
    assert stages["compensated"][budget] <= 0.6 * stages["dense"][budget]
    images, run = torch.from_numpy(np.stack([pair.input for pair in blobs(5, 3).pairs])), load_run(folder)
    with torch.no_grad():
        assert run.model(images).shape == (5, 3)


@pytest.mark.parametrize("refiner", ["descent", "gradient", "tensor_train", "random", "chain"])
@pytest.mark.slow
def test_every_refiner_takes_a_classifier(trained_cnn, tmp_path, refiner):
    few = {"chain": ["refine.stages=[{sequential: {evaluations: 20}}]"]}.get(refiner, ["refine.evaluations=40"])
    words = [*RUN, weights(trained_cnn), "model.convolutions=true", f"refine={refiner}", *few]
    assert cli.dispatch([*words, f"output_root={tmp_path}"]) == 0
    gained = read(only_run(tmp_path), "metrics.json")["refinement"]
    assert gained["held_out"]["after"] >= gained["held_out"]["before"] - 1e-6


def test_a_run_is_repeated_from_its_folder(finished, tmp_path):
    assert cli.dispatch(["run", "--from", str(finished), "--config-dir", OWN, f"output_root={tmp_path}"]) == 0
    again = only_run(tmp_path)
    assert (again / "images.csv").read_text() == (finished / "images.csv").read_text()
    assert yaml.safe_load((again / "config.yaml").read_text())["loss"] == "cross_entropy"
    assert yaml.safe_load((again / "config.yaml").read_text())["scorer"]["loss"] == "cross_entropy"


def test_a_finished_run_is_evaluated_on_other_labelled_images(finished, tmp_path):
    assert cli.dispatch(["evaluate", str(finished), "data=blobs", "--config-dir", OWN, f"output_root={tmp_path}"]) == 0
    metrics = read(only_run(tmp_path, "evaluations"), "metrics.json")
    stages = read(finished, "metrics.json")["stages"]
    assert metrics["stages"]["pruned"]["accuracy"] == stages["compensated"]["accuracy"]
    assert metrics["stages"]["dense"]["accuracy"] == stages["dense"]["accuracy"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data=sample"], r"data=sample has clean images, and the network of .* names classes; take data that has labels"),
        (["data=blobs", "data.side=9"], "data.side=9: the network of .* takes 8; set data.side=8"),
        (["data=blobs", "data.classes=4"], "data.classes=4: the network of .* takes 3"),
    ],
)
def test_evaluation_refuses_data_of_another_kind(finished, tmp_path, words, said):
    with pytest.raises(UserError, match=said):
        cli.dispatch(["evaluate", str(finished), *words, "--config-dir", OWN, f"output_root={tmp_path}"])
    assert not list(tmp_path.iterdir())


def test_a_classifier_of_ones_own_is_pruned(trained, tmp_path):
    mine = ["model=custom", "model.factory=tests.blobs:reader", "model.channels=1", f"model.checkpoint={trained}/model.safetensors"]
    words = ["run", "data=blobs", *mine, "latency=false", "fidelity=0", "--config-dir", OWN, f"output_root={tmp_path}"]
    with pytest.raises(UserError, match="model=custom restores images, and data=blobs has labels"):
        cli.dispatch(words)
    assert cli.dispatch([*words, "model.task=classify"]) == 0
    stages, dense = read(only_run(tmp_path), "metrics.json")["stages"], read(trained, "metrics.json")["stages"]["dense"]
    assert stages["dense"]["accuracy"] == dense["accuracy"]


def test_apply_refuses_a_classifier(finished, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").touch()
    with pytest.raises(UserError, match="its network names classes and gives no images; measure it with `qprune evaluate`"):
        cli.dispatch(["apply", str(finished), "--input", f"{tmp_path}/in", "--output", f"{tmp_path}/out"])


@pytest.mark.exports
@pytest.mark.parametrize("form", ["onnx", "pt2"])
@pytest.mark.slow
def test_an_exported_classifier_takes_any_number_of_images(finished, tmp_path, form, capsys):
    assert cli.dispatch(["export", str(finished), "--format", form, "--output", f"{tmp_path}/small.{form}"]) == 0
    report = read(tmp_path, f"small.{form}.json")
    assert report["any_number"] and [one["shape"] for one in report["checked"]] == [[1, 1, 8, 8], [5, 1, 8, 8]]
    assert "any number of images" in capsys.readouterr().out


def test_inspect_says_what_of_a_classifier_can_go(trained, capsys):
    assert cli.dispatch(["inspect", *BLOBS, weights(trained)]) == 0
    said = capsys.readouterr().out
    assert "20 filters can go" in said and "for one input of shape [1, 8, 8]" in said and "0.0009 M" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", *BLOBS, "model=half_unet"], "model=half_unet restores images, and data=blobs has labels; take "),
        (
            ["run", *BLOBS, "data=sample", "model.channels=3", "model.classes=3"],
            "reader names classes, and data=sample has clean images",
        ),
        (["run", *BLOBS, "model.side=9"], "model.side=9: the images have 8; set model.side=8"),
        (["train", *BLOBS, "model.classes=4"], "model.classes=4: the images have 3; set model.classes=3"),
        (["train", *BLOBS, "train.loss=l1"], "train.loss=l1: these images have labels; choose cross_entropy"),
        (["train", "train.loss=cross_entropy"], "train.loss=cross_entropy: these images have no labels; choose charbonnier, l1 or psnr"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(tmp_path, words, said):
    with pytest.raises(UserError, match=said):
        cli.dispatch([*words, f"output_root={tmp_path}"])
    assert not list(tmp_path.iterdir())


def test_a_loss_that_compares_images_is_refused_before_anything_is_written(trained, tmp_path):
    with pytest.raises(UserError, match="loss=psnr: these images have labels; choose cross_entropy"):
        cli.dispatch([*RUN, weights(trained), "loss=psnr", f"output_root={tmp_path}"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("convolutions", [False, True])
@pytest.mark.slow
def test_prune_takes_labelled_images_in_memory(convolutions):
    model, pairs = taught(convolutions), blobs(80, 4).pairs
    stacks = [tuple(torch.from_numpy(part) for part in next(blobs(80, 4).batches(80)))]
    found = [prune(model, data, 0.3, loss="cross_entropy", latency=False, fidelity=0) for data in ([pair[1:] for pair in pairs], stacks)]
    assert np.array_equal(found[0].keep, found[1].keep) and found[0].metrics["stages"]["dense"]["accuracy"]["n"] == 20
    with pytest.raises(UserError, match="loss=psnr: these images have labels"):
        prune(model, stacks)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([(np.zeros((1, 8, 8)), 1.5)] * 4, "labels of type float64"),
        ([(np.zeros((1, 8, 8)), -1)] * 4, "labels of type int64 from -1"),
        ([(np.zeros((5, 1, 8, 8)), np.arange(4))], r"images \(5, 1, 8, 8\) have labels \(4,\)"),
        (
            [(np.zeros((1, 8, 8)), 1)] * 4 + [(np.zeros((1, 8, 8)), np.zeros((1, 8, 8)))],
            "some images have labels and some have clean",
        ),
    ],
)
def test_labels_that_are_none_are_refused(data, said):
    with pytest.raises(UserError, match=said):
        prune(taught(False, 0), data, loss="cross_entropy")


def test_an_untrained_classifier_is_told_to_be_no_use():
    model, pairs = taught(False, 0), [(pair.input, min(int(pair.target), 1)) for pair in blobs(80, 4).pairs]
    with torch.no_grad():
        model[-1].bias.copy_(torch.tensor([9.0, 0.0, 0.0]))  # it always answers 0, and two thirds are 1
    result = prune(model, pairs, 0.3, loss="cross_entropy", latency=False, fidelity=0)
    assert any("is no better than always answering the most frequent class" in said for said in result.metrics["warnings"])
