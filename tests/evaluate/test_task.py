from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.errors import UserError
from qprune_cli.evaluate.classification import Classification, correct, log_likelihoods
from qprune_cli.evaluate.task import task_of
from qprune_cli.graph.trace import trace
from qprune_cli.replay.metric import MaskMetric
from qprune_cli.surgery.shrink import shrink
from qprune_cli.types import TASKS, ImageSet, Pair, Quality, Splits
from tests.blobs import blobs, taught

NAMES = Classification()


def labelled(*labels):
    return ImageSet(tuple(Pair(str(k), np.zeros((1, 8, 8), np.float32), np.array(label)) for k, label in enumerate(labels)))


def test_a_part_without_a_task_is_for_denoising_and_an_unknown_task_is_refused():
    nothing = ImageSet(())
    assert task_of(object()).name == "denoise"
    assert task_of(Splits(None, nothing, nothing, nothing, "classify")).name == "classify"
    with pytest.raises(UserError, match="task=classifies: no such task; did you mean 'classify'"):
        task_of(Splits(None, nothing, nothing, nothing, "classifies"))


def test_there_is_one_task_for_each_name():
    assert tuple(task_of(SimpleNamespace(task=name)).name for name in TASKS) == TASKS


def test_accuracy_and_cross_entropy_agree_with_torch():
    rng = np.random.default_rng(0)
    logits, labels = 5 * rng.normal(size=(50, 4)).astype(np.float32), rng.integers(4, size=50)
    expected = nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels), reduction="none")
    assert np.allclose(-log_likelihoods(logits, labels), expected.numpy(), atol=1e-5)
    assert np.array_equal(correct(logits, labels), logits.argmax(axis=1) == labels)


def test_a_large_logit_does_not_overflow_and_one_that_is_not_finite_is_never_right():
    assert log_likelihoods(np.array([[1e4, 0.0]], np.float32), np.array([0])).tolist() == [0]
    assert np.isnan(correct(np.array([[np.nan, 0.0]]), np.array([0]))).all()


def test_quality_in_batches_is_that_of_one_image_after_the_other():
    model, images = taught(convolutions=True), blobs(30, 1)
    found = NAMES.quality(model, images)
    alone = [NAMES.quality(model, ImageSet((pair,))) for pair in images.pairs]
    assert list(found.measures) == ["accuracy", "cross_entropy"] and found.names == images.names
    assert found["accuracy"].tolist() == [one["accuracy"][0] for one in alone]
    assert np.allclose(found["cross_entropy"], [one["cross_entropy"][0] for one in alone], atol=1e-5)
    assert np.array_equal(NAMES.merits_of(found), -found["cross_entropy"])


def test_the_majority_is_that_of_the_known_labels():
    found = NAMES.baseline(labelled(2, 2, 0), labelled(2, 0, 1, 2))
    assert found["accuracy"].tolist() == [1, 0, 0, 1]
    assert np.allclose(np.exp(-found["cross_entropy"]), [3 / 6, 2 / 6, 1 / 6, 3 / 6])


def test_a_dense_classifier_that_is_no_better_than_the_majority_is_doubted():
    majority, better = Quality(("a", "b"), {"accuracy": np.array([1.0, 0.0])}), Quality(("a", "b"), {"accuracy": np.array([1.0, 1.0])})
    assert NAMES.doubts(majority, better) == []
    (said,) = NAMES.doubts(majority, majority)
    assert "the dense network (50.00 %) is no better than always answering the most frequent class (50.00 %)" in said


def test_numbers_are_printed_as_per_cent_and_differences_as_points():
    assert NAMES.primary.text(0.98765) == "98.77 %" and NAMES.primary.change(-0.0123) == "-1.23 points"
    assert NAMES.merit.change(0.5) == "+0.5000 nats" and task_of(object()).primary.change(0.254) == "+0.25 dB"


@pytest.mark.parametrize(
    ("model", "images", "said"),
    [
        (nn.Conv2d(1, 3, 1), labelled(0, 1), r"gives \[1, 3, 8, 8\] for an image of shape \[1, 1, 8, 8\]; return \[1, classes\] logits"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(64, 3)),
            labelled(0, 3),
            "3 logits, and there are labels up to 3; set model.classes=4",
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(63, 3)), labelled(0, 1), "does not take an image of shape"),
    ],
)
def test_a_network_that_names_no_classes_is_refused(model, images, said):
    with pytest.raises(UserError, match=said):
        NAMES.refuse_unfit(model, (images,))


@pytest.mark.parametrize("label", [np.array(-1), np.array(0.5), np.array([1])])
def test_a_label_that_is_none_is_refused(label):
    pair = Pair("a", np.zeros((1, 8, 8), np.float32), label)
    with pytest.raises(UserError, match="image 'a': its label is no whole number, at least 0"):
        NAMES.refuse_unjudgeable(ImageSet((pair,)), 1)


@pytest.mark.parametrize("convolutions", [False, True])
def test_metric_of_masks_is_the_log_likelihood_of_the_small_network(convolutions):
    model, images, rng = taught(convolutions), blobs(12, 2), np.random.default_rng(0)
    layout = trace(model, torch.empty(1, 1, 8, 8))
    metric = MaskMetric(NAMES, model, layout, images, model)
    keep = rng.uniform(size=(3, layout.n)) < 0.7
    chosen = np.arange(0, 12, 2)
    found = metric.measure(keep, chosen, keep[0])
    for mask, row in zip(keep, found, strict=True):
        assert np.allclose(row, NAMES.merits_of(NAMES.quality(shrink(model, layout, mask), images))[chosen], atol=1e-4)
    assert np.isfinite(metric.quadratic(keep[0], chosen, 2, 0).gradient).all()
