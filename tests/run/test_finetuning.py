"""Runs that train their networks on: what they write, what a kill costs, and what goes wrong."""

import errno
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import qprune_cli as qp
from qprune_cli import cli
from qprune_cli.errors import UserError
from qprune_cli.train import adamw
from tests.processes import begun, killed
from tests.runs import QUICK, SMOKE, carried_out, made_once, only_run, read, rows_of

SMALL = [*SMOKE, "solver=greedy_taylor", "sparsity=0.6"]
FEW = ["finetune.steps=8", "finetune.batch=2", "finetune.crop=16", "finetune.validate_every=2", "finetune.patience=0"]
TUNED = [*SMALL, "finetune=distill", "finetune.features=0.1", *FEW]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return only_run(made_once(tmp_path_factory, "tuned", lambda folder: carried_out(*TUNED, f"output_root={folder}")))


def test_a_tuned_run_measures_both_networks_and_keeps_the_record(finished):
    metrics, rows = read(finished), rows_of(finished, "epochs.csv")
    assert list(metrics["stages"]) == ["dense", "dense_finetuned", "solved", "refined", "compensated", "finetuned"]
    stages = metrics["stages"]
    for before, after in (("dense", "dense_finetuned"), ("compensated", "finetuned")):
        assert all(stages[before][name] == stages[after][name] for name in ("params", "macs", "filters"))
    told = metrics["finetuning"]
    assert (told["kind"], told["bn"], told["steps"], set(told["networks"])) == ("distill", "frozen", 8, {"pruned", "dense"})
    for name in ("pruned", "dense"):
        own = [row for row in rows if row["network"] == name]
        assert [int(row["step"]) for row in own] == [0, 2, 4, 6, 8] and own[0]["loss"] == "" and float(own[1]["loss"]) < 0
        assert told["networks"][name]["best"]["value"] == max(float(row["psnr"]) for row in own)
    assert not list(finished.glob("finetuning-*"))


def test_the_network_that_is_saved_is_the_tuned_one(finished):
    run = qp.load_run(finished)
    from qprune_cli.data.sample import Sample
    from qprune_cli.evaluate.restoration import Restoration

    settings = {name: value for name, value in run.config["data"].items() if name not in ("_target_", "camera")}
    test = Sample(**settings | {"scales": tuple(settings["scales"])}).test()
    found = Restoration().quality(run.model, test).primary.mean()
    assert found == pytest.approx(read(finished)["stages"]["finetuned"]["psnr"]["mean"], abs=1e-3)


def test_compare_shows_the_last_stage_and_names_it(finished, capsys, tmp_path):
    assert cli.dispatch(["compare", str(finished)]) == 0
    assert "stage finetuned" in capsys.readouterr().out
    assert cli.dispatch([*SMALL, f"output_root={tmp_path}"]) == 0
    assert cli.dispatch(["compare", str(finished), str(only_run(tmp_path))]) == 0
    said = capsys.readouterr().out
    assert "stage final" in said and "finetune" in said


@pytest.mark.slow
def test_a_killed_tuning_goes_on_exactly(tmp_path):
    words = [*TUNED, "finetune.steps=30", "finetune.dense=false"]

    def rows():
        return sum(len(path.read_text().splitlines()) - 1 for path in (tmp_path / "killed").rglob("epochs.csv"))

    run = begun(*words, f"output_root={tmp_path}/killed")
    assert killed(run, lambda: rows() >= 4) == -signal.SIGKILL
    folder = only_run(tmp_path / "killed")
    assert not (folder / "manifest.json").exists() and list(folder.glob("finetuning-pruned-*.safetensors"))
    before = rows_of(folder, "epochs.csv")
    assert cli.dispatch(["run", "--resume", str(folder)]) == 0
    carried_out(*words, f"output_root={tmp_path}/whole")
    whole = only_run(tmp_path / "whole")
    assert rows_of(folder, "epochs.csv") == rows_of(whole, "epochs.csv") and rows_of(folder, "epochs.csv")[: len(before) - 1] == before[:-1]
    first, second = (load_file(path / "model.safetensors") for path in (folder, whole))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_tuning_that_diverges_stops_and_keeps_the_best(tmp_path, caplog):
    wild = ["finetune.lr=1e30", "finetune.clip=1e30", "finetune.average=0", "finetune.dense=false"]
    assert cli.dispatch([*SMALL, "compensate=none", "finetune=adam", *FEW, *wild, f"output_root={tmp_path}"]) == 0
    folder = only_run(tmp_path)
    metrics = read(folder)
    assert metrics["finetuning"]["networks"]["pruned"]["diverged"] and metrics["finetuning"]["networks"]["pruned"]["best"]["step"] == 0
    assert metrics["stages"]["finetuned"]["psnr"] == metrics["stages"]["compensated"]["psnr"]
    assert any("fine-tuning of the pruned network stopped: the" in warning for warning in metrics["warnings"])
    assert "no longer finite" in caplog.text and (folder / "manifest.json").is_file()


@pytest.mark.slow
def test_a_full_disk_ends_it_with_one_sentence_and_it_goes_on(tmp_path, monkeypatch):
    plain = Path.write_bytes

    def full(self, content):
        if "unfinished" in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    words = [*SMALL, "compensate=none", "finetune=adam", *FEW, "finetune.dense=false"]
    with pytest.raises(UserError, match=r"finetuning-pruned-1\.safetensors: cannot be written .*make room, then go on with --resume"):
        cli.dispatch([*words, f"output_root={tmp_path}"])
    folder = only_run(tmp_path)
    assert not (folder / "manifest.json").exists() and not list(folder.glob("*unfinished*"))
    monkeypatch.setattr(Path, "write_bytes", plain)
    assert cli.dispatch(["run", "--resume", str(folder)]) == 0


@pytest.mark.slow
def test_rounds_share_the_steps_and_train_in_between(tmp_path):
    assert cli.dispatch([*SMALL, "finetune=adam", *FEW, "rounds=2", "finetune.dense=false", f"output_root={tmp_path}"]) == 0
    folder = only_run(tmp_path)
    rows = rows_of(folder, "epochs.csv")
    assert [(row["round"], int(row["step"])) for row in rows] == [("1", 0), ("1", 2), ("1", 4), ("2", 0), ("2", 2), ("2", 4)]
    assert np.load(folder / "mask.npz")["keep"].sum() == 26 and read(folder)["stages"]["finetuned"]["filters"] == 26
    metrics = read(folder)
    assert set(metrics["finetuning"]["networks"]) == {"pruned", "pruned, round 1"} and "accepted" in metrics["compensation"]
    assert qp.load_run(folder).model is not None


@pytest.mark.slow
def test_the_dense_network_is_trained_once_for_all_runs_that_share_it(finished, tmp_path, monkeypatch):
    updates, plain = [], adamw.AdamW._update

    def counted(self, state, *args):
        updates.append(len(state.best))
        plain(self, state, *args)

    monkeypatch.setattr(adamw.AdamW, "_update", counted)
    words = [word.replace("0.6", "0.4") for word in TUNED]
    assert cli.dispatch([*words, f"output_root={tmp_path}"]) == 0
    folder = only_run(tmp_path)
    assert len(updates) == 8 and read(folder)["stages"]["dense_finetuned"] == read(finished)["stages"]["dense_finetuned"]
    first, second = ([row for row in rows_of(path, "epochs.csv") if row["network"] == "dense"] for path in (finished, folder))
    assert first == second


def test_classifiers_learn_from_soft_labels(tmp_path):
    words = ["run", *QUICK, "data=digits", "model=mlp", "solver=greedy_taylor", "finetune=distill", *FEW, "finetune.dense=false"]
    assert cli.dispatch([*words, f"output_root={tmp_path}"]) == 0
    stages = read(only_run(tmp_path))["stages"]
    assert 0 < stages["finetuned"]["accuracy"]["mean"] <= 1 and "accuracy" in rows_of(only_run(tmp_path), "epochs.csv")[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["finetune=adm"], "finetune=adm"),
        (["finetune=adam", "finetune.loss=cross_entropy"], "finetune.loss=cross_entropy"),
        (["finetune=adam", "finetune.precision=float16", "device=cpu"], "finetune.precision=float16: needs a CUDA device"),
        (["finetune=adam", "finetune.crop=5000"], "5000"),
        (["finetune=adam", "finetune.step=3"], "finetune.step"),
    ],
)
def test_mistakes_get_one_sentence_before_anything_is_written(words, said, tmp_path):
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        cli.dispatch([*SMALL, *words, f"output_root={tmp_path}"])
    assert not (tmp_path / "runs").exists()
