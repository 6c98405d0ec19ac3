import os
import pickle

import numpy as np
import pytest

from qprune_cli.data.cifar10 import CIFAR10
from qprune_cli.errors import UserError
from qprune_cli.images.batches import read_batch
from tests.images.labelled_files import batches, write_batch, write_cifar

FEW = {"calibration": 10, "refinement": 10}


def cifar(root, **settings):
    return CIFAR10(root=str(root), **(FEW | settings))


def all_pairs(splits):
    train = splits.train.source.pairs(splits.train.chosen)
    return [*train, *splits.calibration.pairs, *splits.refinement.pairs, *splits.test.pairs]


def test_pickles_and_plain_bytes_hold_the_same(tmp_path):
    python, binary = (cifar(write_cifar(tmp_path / f"{b}", b)).load(seed=0) for b in (False, True))
    for one, other in zip(all_pairs(python), all_pairs(binary), strict=True):
        assert one.name == other.name and np.array_equal(one.input, other.input) and one.target == other.target


def test_images_are_red_green_and_blue_planes(tmp_path):
    *_, (_, pixels, labels) = batches()
    for k, pair in enumerate(cifar(write_cifar(tmp_path)).test().pairs):
        assert np.array_equal(pair.input, pixels[k].reshape(3, 32, 32) / np.float32(255)) and pair.target == labels[k]


def test_splits_are_disjoint_and_calibration_is_balanced(tmp_path):
    splits = cifar(write_cifar(tmp_path)).load(seed=0)
    names = [pair.name for pair in all_pairs(splits)]
    assert len(names) == len(set(names)) and len(splits.train.chosen) == 30 and splits.task == "classify"
    assert np.bincount([pair.target for pair in splits.calibration.pairs]).tolist() == [1] * 10


@pytest.mark.parametrize("augment", [True, False])
def test_training_images_change_only_where_they_are_augmented(tmp_path, augment):
    train = cifar(write_cifar(tmp_path), augment=augment).load(seed=0).train
    drawn = train.draw(np.random.default_rng(0), 20, 0)
    same = [np.array_equal(pair.input, train.source.pairs(np.array([int(pair.name[-5:])]))[0].input) for pair in drawn.pairs]
    assert not all(same) if augment else all(same)
    assert drawn.pairs[0].input.shape == (3, 32, 32) and drawn.pairs[0].input.dtype == np.float32


@pytest.mark.parametrize(("below", "binary"), [("cifar-10-batches-py", False), ("cifar-10-batches-bin", True)])
def test_batches_are_found_where_the_archives_put_them(tmp_path, below, binary):
    write_cifar(tmp_path / below, binary)
    assert len(cifar(tmp_path).test()) == 20


def test_images_are_resized(tmp_path):
    splits = cifar(write_cifar(tmp_path), side=16).load(seed=0)
    assert {pair.input.shape for pair in all_pairs(splits)} == {(3, 16, 16)}


def test_missing_batches_are_refused_with_what_is_looked_for(tmp_path):
    with pytest.raises(UserError, match=f"no folder '{tmp_path}/none'"):
        cifar(tmp_path / "none").load(seed=0)
    with pytest.raises(
        UserError, match=f"no data_batch_1 to data_batch_5 and test_batch in '{tmp_path}', '{tmp_path}/cifar-10-batches-py'"
    ):
        cifar(tmp_path).load(seed=0)
    (write_cifar(tmp_path) / "data_batch_3").unlink()
    with pytest.raises(UserError, match=rf"{tmp_path}/data_batch_3: no such file, nor one with .bin"):
        cifar(tmp_path).load(seed=0)


class Evil:
    def __reduce__(self):
        return os.system, ("echo run",)


GOOD = {b"data": np.zeros((4, 3072), np.uint8), b"labels": [0, 1, 2, 3]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD | {b"labels": Evil()}, r"not a whole batch .*UnpicklingError: (posix|nt).system, which could run code"),
        (GOOD | {b"labels": np.float64(3)}, r"which could run code"),
        (GOOD | {b"data": np.zeros((4, 3072), np.float32)}, r"an array that does not hold uint8"),
        (GOOD | {b"data": np.zeros((4, 3071), np.uint8)}, r"data of shape \(4, 3071\)"),
        (GOOD | {b"data": [1, 2]}, r"holds no \(N, 3072\) uint8 'data' with 'labels'"),
        ({b"data": GOOD[b"data"]}, r"with 'labels' \(KeyError"),
        ([1], r"holds no \(N, 3072\) uint8 'data'"),
        (GOOD | {b"labels": [0, 1, 2]}, r"3 labels for 4 images"),
        (GOOD | {b"labels": [0, 1, 2, 10]}, r"holds labels from 0 to 10; expected 0 to 9"),
        (GOOD | {b"labels": [0, 1, 2, -1]}, r"holds labels from -1 to 2"),
        (GOOD | {b"labels": ["a", "b", "c", "d"]}, r"holds no .* \(ValueError"),
    ],
)
def test_pickles_that_hold_anything_else_are_refused_and_run_nothing(tmp_path, content, message, capfd):
    write_batch(tmp_path / "data_batch_1", content)
    with pytest.raises(UserError, match=rf"{tmp_path}/data_batch_1: .*{message}"):
        read_batch(tmp_path / "data_batch_1")
    assert capfd.readouterr().out == ""


def test_pickles_of_older_numpy_are_read(tmp_path):
    content = pickle.dumps(GOOD, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "data_batch_1").write_bytes(content)
    assert read_batch(tmp_path / "data_batch_1")[0].shape == (4, 3, 32, 32)


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps(GOOD, protocol=4)[:5000]])
def test_damaged_pickles_are_refused_with_their_bytes(tmp_path, content):
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(UserError, match=rf"test_batch: not a whole batch .*; {len(content)} bytes, the original has 31 million"):
        read_batch(tmp_path / "test_batch")


@pytest.mark.parametrize("content", [b"", b"0" * 3072, b"0" * 5000])
def test_plain_bytes_that_are_no_whole_images_are_refused(tmp_path, content):
    (tmp_path / "test_batch.bin").write_bytes(content)
    with pytest.raises(UserError, match=rf"test_batch.bin: holds {len(content)} bytes, .* images of 3073"):
        read_batch(tmp_path / "test_batch.bin")


@pytest.mark.parametrize("setting", [{"channels": 1}, {"classes": 100}, {"side": 100}, {"loss": "l1"}, {"calibration": -1}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UserError, match=f"data.{next(iter(setting))}="):
        cifar(".", **setting)
