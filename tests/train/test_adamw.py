import signal
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from qprune_cli import cli
from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.errors import UserError
from qprune_cli.model.dncnn import DnCNN
from qprune_cli.model.nafnet import NAFNet
from qprune_cli.train.adamw import AdamW
from qprune_cli.train.state import Progress, State
from tests.conftest import write_pairs
from tests.processes import begun, killed
from tests.runs import carried_out, only_run, rows_of

QUICK = AdamW(
    steps=6, batch=2, crop=16, loss="psnr", lr=1e-3, warm_up=0.2, weight_decay=0.01, clip=1.0,
    average=0.9, precision="float32", compile=False, validate_every=2, patience=0, seed=3,
)  # fmt: skip


def fresh(component=None):
    torch.manual_seed(0)
    return (component or DnCNN(width=4, depth=3, batchnorm=True)).build()


def trained(settings, splits, checkpoint, stop_after=None, component=None):
    """Train; ``stop_after`` rows the training is abandoned, as a kill would."""
    model, rows = fresh(component), []
    for row in settings.fit(model, splits, checkpoint):
        rows.append(row)
        if len(rows) == stop_after:
            break
    return model.state_dict(), rows


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("component", [None, NAFNet(width=4, encoder=(1,), middle=1, decoder=(1,))])
@pytest.mark.parametrize("settings", [QUICK, replace(QUICK, average=0.0), replace(QUICK, precision="bfloat16")])
def test_resumed_training_equals_an_uninterrupted_one(tmp_path, small_splits, settings, component):
    whole, rows = trained(settings, small_splits, tmp_path / "a.safetensors", component=component)
    for rounds in (1, 2):
        trained(settings, small_splits, tmp_path / "b.safetensors", stop_after=rounds, component=component)
    resumed, all_rows = trained(settings, small_splits, tmp_path / "b.safetensors", component=component)
    assert_equal(whole, resumed)
    assert rows == all_rows and [row.step for row in rows] == [2, 4, 6]


@pytest.mark.parametrize("loss", ["charbonnier", "l1", "psnr"])
def test_training_lowers_its_loss(tmp_path, small_splits, loss):
    settings = replace(QUICK, loss=loss, steps=60, validate_every=20, lr=3e-3, clip=10.0)
    _, rows = trained(settings, small_splits, tmp_path / "a.safetensors", component=DnCNN(width=8, depth=3))
    assert rows[-1].loss < rows[0].loss and rows[-1].value > rows[0].value - 0.05


def test_weights_that_validate_best_are_the_result(tmp_path, small_splits, monkeypatch):
    values = iter([20.0, 22.0, 21.0])
    monkeypatch.setattr("qprune_cli.train.adamw.mean_measure", lambda *_, **__: next(values))
    best, rows = trained(QUICK, small_splits, tmp_path / "a.safetensors")
    values = iter([20.0, 22.0])
    second, _ = trained(replace(QUICK), small_splits, tmp_path / "b.safetensors", stop_after=2)
    state = load_file(tmp_path / "b.safetensors")
    assert_equal(best, {name.removeprefix("best."): value for name, value in state.items() if name.startswith("best.")})
    assert [row.value for row in rows] == [20.0, 22.0, 21.0] and not torch.equal(best["body.0.weight"], second["body.0.weight"])


def test_training_stops_early_when_nothing_gets_better(tmp_path, small_splits, monkeypatch):
    values = iter([20.0, 22.0, 21.0, 21.5, 30.0])
    monkeypatch.setattr("qprune_cli.train.adamw.mean_measure", lambda *_, **__: next(values))
    settings = replace(QUICK, steps=100, patience=2)
    _, rows = trained(settings, small_splits, tmp_path / "a.safetensors")
    assert [row.value for row in rows] == [20.0, 22.0, 21.0, 21.5]
    _, again = trained(settings, small_splits, tmp_path / "a.safetensors")
    assert again == rows


def test_averaged_weights_are_the_moving_average(small_splits):
    model = fresh()
    state = State.fresh(model, torch.optim.SGD(model.parameters(), lr=0.1), decay=0.9, scaled=False)
    weight = model.body[0].weight
    expected = None
    for count in range(4):
        with torch.no_grad():
            weight.add_(1.0)
        state.averaged.update_parameters(model)
        decay = min(0.9, (1 + count) / (10 + count))
        expected = weight.detach().clone() if expected is None else expected * decay + weight.detach() * (1 - decay)
    assert torch.allclose(state.averaged.module.body[0].weight, expected)


def test_learning_rate_warms_up_and_falls_to_zero():
    settings = replace(QUICK, steps=100, warm_up=0.1)
    rates = [settings.rate(step) for step in range(101)]
    assert np.all(np.diff(rates[:11]) > 0) and rates[10] == 1 and np.all(np.diff(rates[10:]) < 0) and abs(rates[100]) < 1e-12


@pytest.mark.slow
def test_compiled_network_trains_alike(tmp_path, small_splits):
    from torch._inductor import config as inductor_config

    plain, _ = trained(QUICK, small_splits, tmp_path / "a.safetensors")
    with inductor_config.patch({"cpp.vec_isa_ok": False}):  # to find out what the processor can do takes longer than to compile
        compiled, _ = trained(replace(QUICK, compile=True), small_splits, tmp_path / "b.safetensors")
    assert all(torch.allclose(plain[name].float(), compiled[name].float(), atol=1e-3) for name in plain)


def test_bfloat16_trains_close_to_float32(tmp_path, small_splits):
    plain, _ = trained(QUICK, small_splits, tmp_path / "a.safetensors")
    mixed, _ = trained(replace(QUICK, precision="bfloat16"), small_splits, tmp_path / "b.safetensors")
    assert all(value.dtype == plain[name].dtype for name, value in mixed.items())
    assert all(torch.allclose(plain[name].float(), mixed[name].float(), atol=0.02) for name in plain)
    assert any(not torch.equal(plain[name], mixed[name]) for name in plain)


def test_float16_without_cuda_is_refused(tmp_path, small_splits):
    if torch.cuda.is_available():
        pytest.skip("there is CUDA")
    with pytest.raises(UserError, match=r"train\.precision=float16: needs a CUDA device"):
        trained(replace(QUICK, precision="float16"), small_splits, tmp_path / "a.safetensors")


def test_state_of_another_network_is_refused(tmp_path, small_splits):
    path = tmp_path / "a.safetensors"
    trained(QUICK, small_splits, path, stop_after=1, component=DnCNN(width=5, depth=3))
    with pytest.raises(UserError, match="not the state of this training"):
        trained(QUICK, small_splits, path)
    path.write_bytes(b"rubbish")
    with pytest.raises(UserError, match="not the state of this training"):
        trained(QUICK, small_splits, path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="not the state of this training"):
        trained(QUICK, small_splits, path)


def test_diverging_loss_is_one_sentence(tmp_path, small_splits):
    for seed in (3, 2**40):
        with pytest.raises(UserError, match=r"no longer finite .*lower train\.lr"):
            trained(replace(QUICK, lr=1e30, steps=1, validate_every=1, seed=seed), small_splits, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=r"no longer finite .*lower train\.lr"):
        trained(replace(QUICK, lr=1e30, loss="l1", steps=30, validate_every=30), small_splits, tmp_path / "a.safetensors")


def test_rows_keep_their_numbers_in_a_saved_state(tmp_path):
    model = fresh()
    state = State.fresh(model, torch.optim.AdamW(model.parameters()), decay=0.5, scaled=False)
    state.add(Progress(3, 0.1, 1 / 3, 30.123456789))
    state.save(tmp_path / "a.safetensors")
    other = State.fresh(fresh(), torch.optim.AdamW(model.parameters()), decay=0.5, scaled=False)
    other.load(tmp_path / "a.safetensors")
    assert other.rows == state.rows and [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


SMALL = ["model=half_unet_small", "data.crops=4", "data.crop_size=32", "train.batch=2", "train.crop=16"]


@pytest.mark.slow
def test_killed_training_resumes_to_the_same_weights(tmp_path):
    words = ["train", *SMALL, "train.steps=30", "train.validate_every=3"]
    carried_out(*words, f"output_root={tmp_path}/whole")
    training = begun(*words, f"output_root={tmp_path}/killed")
    assert killed(training, lambda: list((tmp_path / "killed").rglob("training.csv"))) == -signal.SIGKILL
    folder, whole = only_run(tmp_path / "killed", "train"), only_run(tmp_path / "whole", "train")
    assert not (folder / "manifest.json").exists()
    assert cli.dispatch(["train", "--resume", str(folder)]) == 0
    assert_equal(load_file(whole / "model.safetensors"), load_file(folder / "model.safetensors"))
    assert (whole / "training.csv").read_text() == (folder / "training.csv").read_text()
    assert not (folder / "training.safetensors").exists()
    with pytest.raises(UserError, match="this training is finished"):
        cli.dispatch(["train", "--resume", str(folder)])


@pytest.mark.slow
def test_resume_refuses_other_settings_and_other_folders(tmp_path):
    cli.dispatch(["train", *SMALL, "train.steps=2", "train.validate_every=1", f"output_root={tmp_path}"])
    folder = only_run(tmp_path, "train")
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match="a training goes on as it began"):
        cli.dispatch(["train", "--resume", str(folder), "train.lr=0.1"])
    with pytest.raises(UserError, match=r"holds no config\.yaml"):
        cli.dispatch(["train", "--resume", str(tmp_path)])
    with pytest.raises(UserError, match="--resume: give the folder"):
        cli.dispatch(["train", "--resume"])
    assert cli.dispatch(["train", "--resume", str(folder)]) == 0


@pytest.mark.slow
def test_training_goes_on_where_its_images_moved(tmp_path):
    write_pairs(tmp_path / "images", 6)
    settings = [*SMALL, "data=pairs", "train.steps=3", "train.validate_every=1", f"output_root={tmp_path}/out"]
    cli.dispatch(["train", *settings, f"data.root={tmp_path}/images"])
    folder = only_run(tmp_path / "out", "train")
    (folder / "manifest.json").unlink()
    (tmp_path / "images").rename(tmp_path / "moved")
    assert cli.dispatch(["train", "--resume", str(folder), f"data.root={tmp_path}/moved"]) == 0


def test_full_disk_leaves_the_earlier_state(tmp_path, monkeypatch):
    model = fresh()
    state = State.fresh(model, torch.optim.AdamW(model.parameters()), decay=0.5, scaled=False)
    state.save(tmp_path / "a.safetensors")
    before = (tmp_path / "a.safetensors").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(UserError, match=r"No space left .*go on with --resume"):
        state.save(tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == before


@pytest.mark.slow
def test_training_record_is_complete_after_every_row_and_shows_pictures(tmp_path):
    cli.dispatch(["train", *SMALL, "train.steps=4", "train.validate_every=2", f"output_root={tmp_path}", "ssim3d=true"])
    folder = only_run(tmp_path, "train")
    assert rows_of(folder, "training.csv")[0].keys() == {"step", "lr", "loss", "psnr"}
    assert {path.name for path in (folder / "crops").iterdir()} == {"worst.png", "median.png", "best.png"}
    rows = rows_of(folder, "images.csv")
    assert len(rows) == 36 and {row["stage"] for row in rows} == {"identity", "dense"} and float(rows[0]["ssim3d"]) > 0


@pytest.mark.parametrize("model", ["dncnn", "unet", "nafnet"])
@pytest.mark.slow
def test_every_network_trains(tmp_path, model):
    small = {
        "nafnet": ["model.encoder=[1]", "model.middle=1", "model.decoder=[1]"],
        "unet": ["model.depth=2"],
        "dncnn": ["model.batchnorm=true"],
    }
    quick = ["train.steps=2", "train.batch=2", "train.crop=16", "train.validate_every=2", "data.crops=2", "data.crop_size=16"]
    assert cli.dispatch(["train", f"model={model}", "model.width=4", *small[model], *quick, f"output_root={tmp_path}"]) == 0
    weights = only_run(tmp_path, "train") / "model.safetensors"
    (job,) = compose_jobs("run", [f"model={model}", "model.width=4", *small[model], f"model.weights={weights}"]).jobs
    component = job.component("model")
    again = replace(component, **{name: tuple(value) for name, value in asdict(component).items() if isinstance(value, list)})
    assert_equal(component.load().state_dict(), again.load().state_dict())


def test_tensorboard_is_asked_for_by_name_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UserError, match=r"pip install 'qprune\[tensorboard\]'"):
        cli.dispatch(["train", *SMALL, "tensorboard=true", f"output_root={tmp_path}"])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_tensorboard_holds_the_curves(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cli.dispatch(["train", *SMALL, "train.steps=2", "train.validate_every=1", "tensorboard=true", f"output_root={tmp_path}"])
    events = EventAccumulator(str(only_run(tmp_path, "train") / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("psnr")] == [1, 2]


@pytest.mark.parametrize(
    "setting",
    [
        {"steps": 0},
        {"loss": "l3"},
        {"precision": "int8"},
        {"average": 1.0},
        {"patience": -1},
        {"warm_up": 1.0},
        {"clip": 0.0},
        {"lr": float("nan")},
    ],
)
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UserError, match=f"train.{next(iter(setting))}"):
        replace(QUICK, **setting)
