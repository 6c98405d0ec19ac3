from itertools import pairwise

import numpy as np
import pytest

from qprune_cli.data.sample import BANDS, SEEN, TEST, Sample
from qprune_cli.errors import UserError


def test_test_photographs_appear_in_no_other_split():
    assert not set(SEEN) & set(TEST)
    splits = Sample(crops=4).load(seed=0)
    assert {name.split("_")[0] for name in splits.test.names} == {name.split(".")[0] for name in TEST}


def test_regions_of_the_other_splits_are_disjoint():
    edges = sorted(BANDS.values())
    assert all(left[1] <= right[0] for left, right in pairwise(edges))
    assert edges[0][0] == 0 and edges[-1][1] == 1


def test_seed_draws_calibration_and_nothing_else():
    first, second, again = (Sample(crops=4).load(seed=seed) for seed in (0, 1, 0))
    assert not np.array_equal(first.calibration.pairs[0].input, second.calibration.pairs[0].input)
    assert np.array_equal(first.calibration.pairs[0].input, again.calibration.pairs[0].input)
    for part in ("refinement", "test"):
        for one, other in zip(getattr(first, part).pairs, getattr(second, part).pairs, strict=True):
            assert np.array_equal(one.input, other.input)


def test_grey_sample_has_one_channel():
    pair = Sample(channels=1, crops=1).load(seed=0).test.pairs[0]
    assert pair.input.shape == pair.target.shape == (1, 128, 128)


def test_training_crops_carry_fresh_noise():
    train = Sample(crops=1).load(seed=0).train
    rng = np.random.default_rng(0)
    assert not np.array_equal(train.draw(rng, 1, 32).pairs[0].input, train.draw(rng, 1, 32).pairs[0].input)


@pytest.mark.parametrize("setting", [{"crops": 0}, {"scales": (0.1,)}, {"crop_size": 200}, {"block_size": 400}, {"channels": 2}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UserError, match=f"data.{next(iter(setting))}"):
        Sample(**setting)
