import numpy as np
import pytest
import torch

from qprune_cli.evaluate.masked import silenced_merit
from qprune_cli.evaluate.restoration import Restoration
from qprune_cli.graph.trace import trace
from qprune_cli.model.dncnn import DnCNN
from qprune_cli.model.half_unet import HalfUNet
from qprune_cli.model.nafnet import NAFNet
from qprune_cli.model.unet import UNet
from qprune_cli.replay import incumbent
from qprune_cli.replay.gated import GatedNetwork
from qprune_cli.replay.incumbent import IncumbentCache
from qprune_cli.replay.metric import MaskMetric, batch_size
from qprune_cli.search.moves import swapped
from qprune_cli.types import ImageSet, Pair
from scripts.zoo import shaken

NETWORKS = {
    "half_unet": lambda: HalfUNet(width=6, depth=3).build(),
    "ghost": lambda: HalfUNet(width=6, depth=3, ghost=True).build(),
    "dncnn": lambda: DnCNN(width=6, depth=5, batchnorm=True).build(),
    "unet": lambda: UNet(width=4, depth=3).build(),
    "nafnet": lambda: NAFNet(width=4, encoder=(1,), middle=1, decoder=(1,)).build(),
}


def checked(metric, keep, images, near):
    found = metric.measure(keep, images, near)
    shown = metric.image_set.pairs
    for mask, row in zip(keep, found, strict=True):
        true = [silenced_merit(metric.task, metric.model, metric.layout, mask, ImageSet((shown[k],))) for k in images]
        assert np.abs(row - true).max() < 1e-4


def swaps(rng, near, count):
    kept, dropped = np.flatnonzero(near), np.flatnonzero(~near)
    return np.stack([swapped(near, [pair]) for pair in zip(rng.choice(kept, count), rng.choice(dropped, count), strict=True)])


def masked(rng, layout, share):
    return rng.uniform(size=layout.n) < share


@pytest.mark.parametrize("granularity", ["filter", "group"])
@pytest.mark.parametrize("name", NETWORKS)
def test_metric_is_the_psnr_of_the_silenced_network(name, granularity, small_splits):
    torch.manual_seed(0)
    model = shaken(NETWORKS[name]())
    layout, rng = trace(model, granularity=granularity), np.random.default_rng(0)
    metric = MaskMetric(Restoration(), model, layout, small_splits.refinement)
    near = masked(rng, layout, 0.5)
    near[0] = True
    chosen = np.arange(metric.images)[::-2]
    checked(metric, np.stack([near, *swaps(rng, near, 4)]), chosen, near)
    checked(metric, swaps(rng, near, 3), chosen, near)  # the small network grows
    far = [masked(rng, layout, share) for share in (0.1, 0.5, 0.9)]
    checked(metric, np.stack([*far, *swaps(rng, near, 2), ~near, np.zeros(layout.n, bool)]), chosen, near)
    moved = swaps(rng, near, 1)[0]
    checked(metric, np.stack([moved, *swaps(rng, moved, 3)]), chosen[:1], moved)


def test_a_mask_that_empties_a_layer_is_measured(small_model, small_layout, small_splits):
    metric = MaskMetric(Restoration(), small_model, small_layout, small_splits.refinement)
    near = np.arange(small_layout.n) % 2 == 0
    empty = near & (small_layout.layer_of[None] != np.arange(len(small_layout.groups))[:, None])
    checked(metric, empty, np.arange(metric.images), near)


def test_images_of_several_sizes_are_measured_one_by_one(small_model, small_layout):
    rng = np.random.default_rng(0)
    sides = [(20, 24), (20, 24), (17, 30), (20, 24), (9, 11)]
    pairs = tuple(Pair(str(k), *(rng.uniform(size=(3, *side)).astype(np.float32) for _ in range(2))) for k, side in enumerate(sides))
    metric = MaskMetric(Restoration(), small_model, small_layout, ImageSet(pairs))
    near = rng.uniform(size=small_layout.n) < 0.5
    checked(metric, swaps(rng, near, 3), np.arange(5), near)
    checked(metric, swaps(rng, near, 3), np.array([4, 1]), near)


def test_what_masks_share_is_computed_once(small_model, small_layout, small_splits, monkeypatch):
    built, ran = [], []
    of_mask, replay = GatedNetwork.of_mask, incumbent.Replay
    monkeypatch.setattr(GatedNetwork, "of_mask", lambda *given: built.append(1) or of_mask(*given))
    monkeypatch.setattr(incumbent, "Replay", lambda *given: ran.append(1) or replay(*given))
    metric, rng = MaskMetric(Restoration(), small_model, small_layout, small_splits.refinement), np.random.default_rng(0)
    near = rng.uniform(size=small_layout.n) < 0.5
    keep, images = swaps(rng, near, 4), np.arange(metric.images)
    for _ in range(3):
        metric.measure(keep, images, near)
    assert len(built) == 1 and len(ran) == -(-len(images) // batch_size(small_splits.refinement))


def test_what_is_remembered_has_an_end(small_model, small_layout, small_splits):
    metric, near = MaskMetric(Restoration(), small_model, small_layout, small_splits.refinement), np.ones(small_layout.n, bool)
    metric.cache = IncumbentCache(small_model, small_layout, max_bytes=0)
    checked(metric, near[None] & (np.arange(small_layout.n) != 3), np.arange(metric.images), near)
    assert not metric.cache.replays
