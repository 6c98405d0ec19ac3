import numpy as np
import pytest
from sklearn.datasets import load_digits

from qprune_cli.data.digits import Digits
from qprune_cli.errors import UserError

FEW = {"calibration": 50, "refinement": 40}


def seen(splits):
    """Images of every part as bytes; the digits hold no image twice."""
    train = splits.train.source.pairs(splits.train.chosen)
    return [
        {pair.input.tobytes() for pair in part} for part in (train, splits.calibration.pairs, splits.refinement.pairs, splits.test.pairs)
    ]


def test_splits_are_disjoint():
    parts = seen(Digits(**FEW).load(seed=0))
    assert [len(part) for part in parts] == [1797 - 360 - 40 - 100, 50, 40, 360]
    assert sum(len(part) for part in parts) == len(set().union(*parts))


def test_calibration_refinement_and_test_are_balanced():
    splits = Digits(**FEW).load(seed=0)
    for part, each in ((splits.calibration, 5), (splits.refinement, 4), (splits.test, 36)):
        assert np.bincount([pair.target for pair in part.pairs]).tolist() == [each] * 10
    assert splits.task == Digits().task == "classify"


def test_run_draws_calibration_and_nothing_else_and_never_from_what_was_trained_on():
    first, second, again = (Digits(**FEW).load(seed=seed) for seed in (0, 1, 0))
    parts, others, same = (seen(splits) for splits in (first, second, again))
    assert parts == same and first.calibration.names == again.calibration.names
    assert parts[1] != others[1] and parts[0] == others[0] and parts[2:] == others[2:]
    assert others[1].isdisjoint(parts[0] | parts[2] | parts[3])


def test_seed_shares_out_anew_but_keeps_the_test_images():
    parts, others = (seen(Digits(seed=seed, **FEW).load(seed=0)) for seed in (0, 1))
    assert parts[0] != others[0] and parts[2] != others[2] and parts[3] == others[3]


def test_images_and_labels_are_those_of_scikit_learn():
    digits = load_digits()
    known = {(image / 16).astype(np.float32).tobytes(): label for image, label in zip(digits.images, digits.target, strict=True)}
    assert all(known[image.tobytes()] == label for _, image, label in Digits().test().pairs)


def test_fewer_images_are_trained_and_tested_on_where_asked_for():
    few, many = (Digits(train_images=count, test_images=count).load(seed=0) for count in (30, 0))
    assert len(few.train.chosen) == len(few.test) == 30 and set(few.train.chosen) < set(many.train.chosen)
    assert set(few.test.names) < set(many.test.names) and few.refinement.names == many.refinement.names


def test_digits_are_resized():
    splits = Digits(side=28).load(seed=0)
    assert splits.test.pairs[0].input.shape == splits.calibration.pairs[0].input.shape == (1, 28, 28)


@pytest.mark.parametrize(
    "setting",
    [
        *({"channels": 3}, {"classes": 9}, {"side": 4}, {"side": 65}, {"seed": -1}),
        *({"calibration": 0}, {"refinement": 0}, {"train_images": -1}, {"test_images": -1}, {"loss": "psnr"}),
    ],
)
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UserError, match=f"data.{next(iter(setting))}="):
        Digits(**setting)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"calibration": 600}, "1200 to draw calibration from, 256 for refinement, 1 to train on are more than the 1437 images"),
        ({"train_images": 670}, "512 to draw calibration from, 256 for refinement, 670 to train on are more than"),
        ({"test_images": 361}, "data.test_images=361: there are 360"),
    ],
)
def test_more_images_than_there_are_are_refused(setting, message):
    with pytest.raises(UserError, match=message):
        Digits(**setting).load(seed=0)
