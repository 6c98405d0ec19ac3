import gzip

import numpy as np
import pytest

from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.data.mnist import MNIST
from qprune_cli.errors import UserError
from qprune_cli.images.idx import read_idx
from tests.images.labelled_files import drawn, idx, write_idx

FEW = {"calibration": 10, "refinement": 10}
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def mnist(root, **settings):
    return MNIST(root=str(root), **(FEW | settings))


def all_pairs(splits):
    train = splits.train.source.pairs(splits.train.chosen)
    return [*train, *splits.calibration.pairs, *splits.refinement.pairs, *splits.test.pairs]


@pytest.mark.parametrize("zipped", [True, False])
def test_files_are_read_as_they_were_written(tmp_path, zipped):
    write_idx(tmp_path, zipped)
    images, labels = drawn(20, 28, 28)
    for k, pair in enumerate(mnist(tmp_path).test().pairs):
        assert np.array_equal(pair.input[0], images[k] / np.float32(255)) and pair.target == labels[k]
    assert k == 19


def test_splits_are_disjoint_and_calibration_is_balanced(tmp_path):
    splits = mnist(write_idx(tmp_path)).load(seed=0)
    names = [pair.name for pair in all_pairs(splits)]
    assert len(names) == len(set(names)) == 60 - 10 + 20  # 10 that calibration was not drawn from are in no part
    assert len(splits.train.chosen) == 30 and splits.task == "classify"
    assert np.bincount([pair.target for pair in splits.calibration.pairs]).tolist() == [1] * 10


def test_same_seed_gives_the_same_data(tmp_path):
    write_idx(tmp_path)
    first, again, other = (mnist(tmp_path).load(seed=seed) for seed in (3, 3, 4))
    assert [pair.name for pair in all_pairs(first)] == [pair.name for pair in all_pairs(again)]
    assert first.calibration.names != other.calibration.names and first.refinement.names == other.refinement.names
    assert mnist(tmp_path, seed=1).load(seed=3).refinement.names != first.refinement.names


@pytest.mark.parametrize(
    ("name", "below"),
    [("mnist", "."), ("mnist", "mnist"), ("mnist", "MNIST/raw"), ("fashion_mnist", "fashion_mnist"), ("fashion_mnist", "FashionMNIST/raw")],
)
def test_files_are_found_where_torchvision_puts_them(tmp_path, name, below):
    write_idx(tmp_path / below)
    assert len(mnist(tmp_path, name=name).test()) == 20


def test_images_are_resized(tmp_path):
    splits = mnist(write_idx(tmp_path), side=32).load(seed=0)
    assert {pair.input.shape for pair in all_pairs(splits)} == {(1, 32, 32)}
    assert splits.train.draw(np.random.default_rng(0), 3, 0).pairs[0].input.shape == (1, 32, 32)


def test_root_is_recorded_as_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mnist("here").root == str(tmp_path / "here")


@pytest.mark.parametrize(
    "setting", [{"name": "letters"}, {"channels": 3}, {"classes": 26}, {"side": 7}, {"loss": "mse"}, {"refinement": 0}]
)
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UserError, match=f"data.{next(iter(setting))}="):
        mnist(".", **setting)


def test_a_root_is_required():
    with pytest.raises(UserError, match=r"data\.root: a value is required"):
        compose_jobs("run", ["data=mnist", "model=mlp"]).jobs[0].component("data")


def test_networks_follow_the_images():
    (job,) = compose_jobs("train", ["data=mnist", "data.root=.", "data.side=16", "model=lenet5"]).jobs
    model, data = job.component("model"), job.component("data")
    assert (model.channels, model.side, model.classes) == (data.channels, data.side, data.classes) == (1, 16, 10)
    assert compose_jobs("train", ["model=mlp"]).jobs[0].components["data"] == "digits"


def test_missing_folders_and_files_are_refused_with_what_is_looked_for(tmp_path):
    with pytest.raises(UserError, match=f"no folder '{tmp_path}/none'"):
        mnist(tmp_path / "none").load(seed=0)
    with pytest.raises(UserError, match=rf"none of {IMAGES}.gz, .* is in '{tmp_path}', '{tmp_path}/mnist', '{tmp_path}/MNIST/raw'"):
        mnist(tmp_path).load(seed=0)
    write_idx(tmp_path)
    (tmp_path / f"{LABELS}.gz").unlink()
    with pytest.raises(UserError, match=rf"{tmp_path}/{LABELS}.gz: no such file, nor one without .gz; {IMAGES}.gz, "):
        mnist(tmp_path).load(seed=0)
    assert len(mnist(tmp_path).test()) == 20


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (IMAGES, idx(drawn(60, 28, 28)[0])[:-392], r"holds 46664 bytes, 59.5 of the 60 images or labels .* in 47056 bytes"),
        (IMAGES, idx(drawn(60, 28, 28)[0]) + b"0", r"holds 47057 bytes"),
        (IMAGES, idx(drawn(60, 28, 28)[0])[:7], r"holds 7 bytes, fewer than its header of 16"),
        (IMAGES, b"", r"holds 0 bytes, fewer than its header"),
        (IMAGES, idx(drawn(60, 28, 28)[1]), r"begins with 0x00000801 where 0x00000803 is expected"),
        (LABELS, idx(drawn(60, 28, 28)[0]), r"begins with 0x00000803 where 0x00000801 is expected"),
        (IMAGES, idx(np.zeros((60, 28, 0), np.uint8)), r"its header says 60 x 28 x 0, which is nothing"),
        (LABELS, idx(np.zeros(0, np.uint8)), r"its header says 0, which is nothing"),
        (IMAGES, b"<html>", r"begins with 0x3c68746d where 0x00000803"),
        (LABELS, idx(drawn(59, 28, 28)[1]), r"59 labels for the 60 images of train-images-idx3-ubyte"),
        (LABELS, idx(np.full(60, 10, np.uint8)), r"holds the label 10; expected 0 to 9"),
        (IMAGES, bytes((0, 0, 8, 3)) + b"\xff" * 12 + b"0" * 9, r"holds 25 bytes"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_files_are_refused_by_name(tmp_path, zipped, name, content, message):
    path = write_idx(tmp_path, zipped) / f"{name}{'.gz' if zipped else ''}"
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(UserError, match=rf"{path}: {message}"):
        mnist(tmp_path).load(seed=0)


def test_a_download_that_was_cut_short_is_refused_with_its_bytes(tmp_path):
    path = write_idx(tmp_path) / f"{IMAGES}.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=rf"{path}: holds \d+ bytes, [\d.]+ of the 60 images or labels that it should have in 47056 bytes"):
        mnist(tmp_path).load(seed=0)


@pytest.mark.parametrize("damage", [lambda whole: b"nonsense", lambda whole: whole[:3000] + b"\0" * 9 + whole[3009:]])
def test_a_damaged_gzip_file_is_refused(tmp_path, damage):
    path = write_idx(tmp_path) / f"{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=rf"{path}: not a whole gzip file \(.*; \d+ bytes\)"):
        mnist(tmp_path).load(seed=0)


def test_a_cut_checksum_is_found(tmp_path):
    path = write_idx(tmp_path) / f"{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="its checksum of 8 bytes is not whole"):
        read_idx(path, 3)


def test_more_images_than_there_are_are_refused(tmp_path):
    write_idx(tmp_path)
    with pytest.raises(UserError, match=r"50 to draw calibration from, 10 for refinement, 1 to train on are more than the 60 images"):
        mnist(tmp_path, calibration=25).load(seed=0)
    with pytest.raises(UserError, match=r"data.test_images=21: there are 20"):
        mnist(tmp_path, test_images=21).test()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_original_files_are_read(real_data, name):
    splits = MNIST(root=str(real_data), name=name).load(seed=0)
    learnt = len(splits.train.source)
    assert len(splits.test) == 10_000 and learnt in (12_000, 60_000) and len(splits.train.chosen) == learnt - 1024 - 1000
    counts = np.bincount(splits.train.source.labels, minlength=10)
    assert counts.min() > 0.08 * learnt and counts.sum() == learnt
    first = splits.test.pairs[:5]
    assert [int(pair.target) for pair in first] == {"mnist": [7, 2, 1, 0, 4], "fashion_mnist": [9, 2, 1, 1, 6]}[name]
    assert 0.1 < np.mean([pair.input.mean() for pair in splits.test.pairs[:100]]) < 0.4
