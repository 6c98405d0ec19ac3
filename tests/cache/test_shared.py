"""What runs have in common is found again where everything that it depends on is the same, and only there."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from qprune_cli.cache.shared import Shared, images_digest, scores_digest
from qprune_cli.cache.store import Store
from qprune_cli.clock import Clock
from qprune_cli.evaluate.task import task_of
from qprune_cli.scorer.gram import Gram
from qprune_cli.scorer.hybrid import Hybrid
from qprune_cli.scores import Scores
from qprune_cli.types import ImageSet


@pytest.fixture
def shared(tmp_path, small_model, small_layout, small_splits):
    return lambda **other: Shared(
        Store(tmp_path), **({"dense": small_model, "layout": small_layout, "splits": small_splits, "clock": Clock()} | other)
    )


def never(*_: object) -> Scores:
    pytest.fail("it is there already")


HYBRID = Hybrid()


def asked(one: Shared, scorer=HYBRID, seed=0, keep=None, network=None, make=None) -> Scores:
    network, keep = network or one.dense, np.ones(one.layout.n, bool) if keep is None else keep

    def score() -> Scores:
        return scorer.score(network, one.layout, one.splits, seed, keep, one.dense)

    return one.scores(dataclasses.asdict(scorer), seed, keep, network, make or score)


@pytest.mark.parametrize("scorer", [HYBRID, Gram()])
def test_scores_come_back_bit_for_bit(shared, scorer):
    first, again = asked(shared(), scorer), asked(shared(), scorer, make=never)
    assert (first.linear == again.linear).all() and (first.dead == again.dead).all() and first.notes == again.notes
    assert all((one == other).all() for one, other in zip(first.pairs.blocks, again.pairs.blocks, strict=True))
    assert (first.pairs.factor is None) == (again.pairs.factor is None)
    assert first.pairs.factor is None or (first.pairs.factor == again.pairs.factor).all()
    assert scores_digest(first) == scores_digest(again)


def test_scores_of_anything_else_are_computed(shared, small_splits):
    asked(shared())
    other = copy.deepcopy(shared().dense)
    with torch.no_grad():
        next(iter(other.parameters())).add_(1e-3)
    keep = np.ones(shared().layout.n, bool)
    keep[0] = False
    fewer = dataclasses.replace(small_splits, calibration=ImageSet(small_splits.calibration.pairs[:-1]))
    for one, more in (
        (shared(), {"scorer": Hybrid(beta=0.7)}),
        (shared(), {"seed": 1}),
        (shared(), {"keep": keep}),
        (shared(), {"network": other}),
        (shared(dense=other), {}),
        (shared(splits=fewer), {}),
    ):
        asked(one, **more)
        assert one.recalled == [], more
    one = shared()
    asked(one, make=never)
    assert len(one.recalled) == 1


def test_a_network_of_the_same_weights_and_other_operations_is_another(shared):
    class Doubled(torch.nn.Module):
        def __init__(self, inside):
            super().__init__()
            self.inside = inside

        def forward(self, image):
            return 2 * self.inside(image)

        def state_dict(self, *args, **kwargs):
            return self.inside.state_dict(*args, **kwargs)

    asked(shared())
    one = shared(dense=Doubled(shared().dense))
    one.scores(dataclasses.asdict(HYBRID), 0, np.ones(one.layout.n, bool), one.dense, lambda: asked(shared()))
    assert one.recalled == []


def test_the_seconds_of_what_was_found_are_counted(shared, monkeypatch):
    ticks = iter([0.0, 7.5])
    monkeypatch.setattr("qprune_cli.cache.store.perf_counter", lambda: next(ticks))
    asked(shared())
    one = shared()
    asked(one, make=never)
    assert one.clock.seconds == {"score": 7.5}


def test_quality_is_measured_once_for_a_network_and_its_test_images(shared, small_splits):
    task = task_of(small_splits)
    first = shared().quality("dense", False, lambda: task.quality(shared().dense, small_splits.test))
    again = shared().quality("dense", False, never)
    assert again.names == first.names and list(again.measures) == ["psnr", "ssim"]
    assert all((first[name] == again[name]).all() for name in first.measures)
    fewer = dataclasses.replace(small_splits, test=ImageSet(small_splits.test.pairs[:3]))
    other = shared(splits=fewer).quality("dense", False, lambda: task.quality(shared().dense, fewer.test))
    assert len(other.names) == 3


def test_names_and_values_of_images_tell_sets_apart(small_splits):
    images = small_splits.calibration
    pair = images.pairs[0]
    renamed, changed = pair._replace(name="other"), pair._replace(target=pair.target + 1e-6)
    digests = {images_digest(ImageSet((one, *images.pairs[1:]))) for one in (pair, renamed, changed)}
    assert len(digests) == 3 and images_digest(images) in digests


def test_fidelity_is_plain_values_for_the_same_mask(shared):
    keep = np.ones(shared().layout.n, bool)
    first = shared().fidelity({"swaps": 8}, keep, shared().dense, lambda: {"correlation": 0.5, "ci95": [0.1, 0.9]})
    assert shared().fidelity({"swaps": 8}, keep, shared().dense, never) == first == {"correlation": 0.5, "ci95": [0.1, 0.9]}
