import numpy as np
import pytest
import torch
from torch.nn import functional as F

from qprune_cli.images.labelled import Labelled, LabelledDraws, LabelledPairs, moved
from qprune_cli.images.resize import resized
from qprune_cli.images.sharing import take_balanced
from qprune_cli.types import ImageSet


@pytest.fixture
def source():
    rng = np.random.default_rng(0)
    return Labelled(rng.integers(0, 256, (700, 3, 8, 8), dtype=np.uint8), rng.integers(0, 10, 700), "train")


def test_pairs_are_made_of_the_bytes_that_are_kept(source):
    pairs = LabelledPairs(source, np.arange(5, 700))
    name, image, label = pairs[7]
    assert name == "train_00012" and image.dtype == np.float32 and label.shape == () and label.dtype == np.int64
    assert np.array_equal(image, source.images[12].astype(np.float32) / 255) and label == source.labels[12]
    assert [pair.name for pair in pairs] == [pairs[k].name for k in range(len(pairs))] == [pair.name for pair in pairs[:]]


def test_batches_hold_images_and_labels_in_order(source):
    images = ImageSet(LabelledPairs(source, np.arange(700)))
    stacks = list(images.batches(256))
    assert [x.shape for x, _ in stacks] == [(256, 3, 8, 8), (256, 3, 8, 8), (188, 3, 8, 8)]
    assert np.array_equal(np.concatenate([y for _, y in stacks]), source.labels)


def test_draws_are_whole_training_images_whatever_the_size(source):
    train = LabelledDraws(source, np.arange(10))
    train.check(10_000)
    drawn, again = (train.draw(np.random.default_rng(1), 64, size) for size in (4, 99))
    assert drawn.names == again.names and set(drawn.names) <= {f"train_{k:05d}" for k in range(10)}
    for name, image, label in drawn.pairs:
        k = int(name[-5:])
        assert np.array_equal(image, source.images[k] / np.float32(255)) and label == source.labels[k]


def test_augmented_images_are_mirrored_and_moved_ones():
    image = np.arange(1, 65, dtype=np.uint8).reshape(1, 1, 8, 8)
    shifts = {
        np.pad(picture, ((4, 4), (4, 4)))[y : y + 8, x : x + 8].tobytes()
        for picture in (image[0, 0], image[0, 0, :, ::-1])
        for y in range(9)
        for x in range(9)
    }
    found = {picture.tobytes() for picture in moved(image.repeat(2000, axis=0), np.random.default_rng(0))}
    assert found <= shifts and len(found) > 0.99 * len(shifts)


def test_drawing_with_augmentation_leaves_the_images_alone(source):
    before = source.images.copy()
    LabelledDraws(source, np.arange(10), augment=True).draw(np.random.default_rng(0), 64, 8)
    assert np.array_equal(source.images, before)


@pytest.mark.parametrize("side", [8, 13, 28, 40])
def test_resizing_equals_the_bilinear_one_of_torch(side):
    images = np.random.default_rng(0).random((3, 2, 28, 28), dtype=np.float32)
    expected = F.interpolate(torch.from_numpy(images), size=(side, side), mode="bilinear", antialias=True).numpy()
    assert np.allclose(resized(images, side), expected, atol=1e-6)
    whole = np.random.default_rng(0).integers(0, 256, (3, 1, 28, 28), dtype=np.uint8)
    assert resized(whole, side).dtype == np.uint8
    assert np.abs(resized(whole, side) / 255 - resized(whole / np.float32(255), side)).max() <= 0.5001 / 255


def test_images_of_the_wanted_side_stay_as_they_are(source):
    assert source.sized(8) is source and source.sized(9).images.shape == (700, 3, 9, 9)


def test_classes_take_turns_until_one_runs_out():
    labels = np.array([0] * 50 + [1] * 5 + [2] * 20)
    source = Labelled(np.zeros((75, 1, 8, 8), np.uint8), labels, "train")
    for count, expected in ((12, [4, 4, 4]), (25, [10, 5, 10]), (75, [50, 5, 20])):
        taken, rest = take_balanced(source, np.arange(75), count, np.random.default_rng(0))
        assert np.bincount(labels[taken], minlength=3).tolist() == expected
        assert sorted([*taken, *rest]) == list(range(75))
