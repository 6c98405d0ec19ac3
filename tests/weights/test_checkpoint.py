import csv
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.data.pairs import PairedFolders
from qprune_cli.data.sample import Sample
from qprune_cli.errors import UserError
from qprune_cli.evaluate.quality import outputs, psnr
from qprune_cli.evaluate.task import task_of
from qprune_cli.model.half_unet import HalfUNet
from qprune_cli.types import ImageSet
from qprune_cli.weights.checkpoint import SHIPPED, save_weights, weights_digest

TINY = {"width": 4, "depth": 2}


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    save_weights(HalfUNet(**TINY).build(), tmp_path / "a.safetensors", {})
    return tmp_path / "a.safetensors"


def test_weights_come_back_bit_for_bit(saved):
    first, second = (HalfUNet(**TINY, weights=str(saved)).load() for _ in range(2))
    assert weights_digest(first) == weights_digest(second) and not first.training
    with torch.no_grad():
        next(second.parameters())[0, 0, 0, 0] += 1e-6
    assert weights_digest(first) != weights_digest(second)


def refusal(weights, **settings):
    with pytest.raises(UserError) as caught:
        HalfUNet(**(TINY | settings), weights=str(weights)).load()
    return str(caught.value)


def test_missing_files_and_names_are_refused_with_the_nearest(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.safetensors")
    assert "did you mean 'half_unet'" in refusal("half_unte")


def test_a_damaged_file_is_refused(saved):
    saved.write_bytes(saved.read_bytes()[:200])
    assert "not a readable safetensors file" in refusal(saved)


def test_another_architecture_is_refused_by_name(saved):
    message = refusal(saved, width=6)
    assert "another architecture" in message and "(4,)" in message and "(6,)" in message


def test_an_architecture_that_differs_without_a_parameter_is_refused():
    with pytest.raises(UserError, match=r"with model\.residual=True"):
        HalfUNet(width=8, depth=3, residual=False, weights="half_unet_small").load()


@pytest.mark.parametrize("config", ["not json", "[1]", '{"model": 3}'])
def test_metadata_of_other_programs_is_left_alone(saved, config):
    save_file(load_file(saved), saved, {"config": config})
    assert not HalfUNet(**TINY, weights=str(saved)).load().training


def test_weights_of_integers_are_refused(saved):
    save_file({name: tensor.int() for name, tensor in load_file(saved).items()}, saved)
    assert "where torch.float32 belongs" in refusal(saved)


def test_weights_that_are_not_finite_are_refused(saved):
    state = load_file(saved)
    state["head.bias"][0] = float("nan")
    save_file(state, saved)
    assert "'head.bias' holds values that are not finite" in refusal(saved)


def test_checkpoint_can_be_read_by_whoever_can_read_other_files(saved):
    (saved.parent / "other").write_text("")
    assert saved.stat().st_mode == (saved.parent / "other").stat().st_mode


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.safetensors")), ids=lambda path: path.stem)
def test_shipped_checkpoints_are_small_and_say_how_they_were_made(path):
    assert path.stat().st_size < 2e6
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    config = json.loads(metadata["config"])
    assert config["train"]["steps"] > 0
    measure, images = {"Sample": ("psnr", 18), "Digits": ("accuracy", 360)}[config["data"]["_target_"].rpartition(".")[2]]
    assert json.loads(metadata["test"])[measure]["n"] == images


def gain(name, test):
    """Mean gain in dB of a shipped network over the noisy images."""
    network = compose_jobs("run", [f"model={name}"]).jobs[0].component("model").load()
    denoised = [psnr(output, pair.target) for output, pair in zip(outputs(network, test), test.pairs, strict=True)]
    return float(np.mean(denoised) - np.mean([psnr(pair.input, pair.target) for pair in test.pairs]))


LARGE = ("dncnn", "half_unet", "nafnet_narrow")


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_shipped_networks_gain_6_db_on_the_test_images(name):
    assert gain(name, Sample().test()) >= 6


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_shipped_networks_gain_8_db_on_real_photographs(name, real_data):
    photographs = PairedFolders(root=str(real_data / "sidd_native" / "val"), clean="*_gt.*", shares=(0.0, 0.0, 0.0, 1.0)).test()
    assert len(photographs) == 32 and gain(name, ImageSet(photographs.pairs[::4])) >= 8


def test_shipped_small_half_unet_gains_2_db_on_the_test_images():
    assert gain("half_unet_small", Sample().test()) >= 2


@pytest.mark.parametrize("name", ["mlp_digits", "lenet5_digits"])
def test_shipped_classifiers_name_19_of_20_digits(name):
    component = compose_jobs("run", [f"model={name.removesuffix('_digits')}"]).jobs[0].component
    quality = task_of(component("data")).quality(component("model").load(), component("data").test(), False)
    assert quality["accuracy"].mean() > 0.95


@pytest.mark.parametrize("name", [*LARGE, "half_unet_small", "mlp_digits", "lenet5_digits"])
def test_recipe_of_a_shipped_network_is_its_experiment(name):
    with safe_open(SHIPPED / f"{name}.safetensors", "pt") as file:
        made = json.loads(file.metadata()["config"])
    recipe = compose_jobs("train", [f"experiment=train_{name}"]).jobs[0].settings
    unpruned = {"keep_layers": [], "wrap": []}  # no part of what is trained
    assert made["train"] == recipe["train"] and made["model"] | {"weights": None} | unpruned == recipe["model"]
    log = list(csv.DictReader((SHIPPED / f"{name}.csv").open()))
    assert int(log[-1]["step"]) == recipe["train"]["steps"]
