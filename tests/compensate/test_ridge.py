import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.compensate.ridge import Ridge
from qprune_cli.errors import UserError
from qprune_cli.evaluate.masked import silenced_merit
from qprune_cli.evaluate.restoration import Restoration
from qprune_cli.graph.trace import trace
from qprune_cli.model.half_unet import HalfUNet
from qprune_cli.record.warning import compensation_warnings
from qprune_cli.surgery.shrink import shrink
from qprune_cli.surgery.silence import silence
from qprune_cli.types import ImageSet, Pair, Splits
from tests.runs import read, rows_of


class Mixed(nn.Module):
    """Every kind of layer that is re-fitted, a skip connection, and norms where asked."""

    def __init__(self, norms=False):
        super().__init__()
        norm = nn.BatchNorm2d if norms else lambda width: nn.Identity()
        self.first, self.norm1 = nn.Conv2d(3, 8, 3, padding=1), norm(8)
        self.depthwise, self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.down, self.norm2 = nn.Conv2d(8, 8, 3, stride=2, padding=1), norm(8)
        self.up = nn.ConvTranspose2d(8, 8, 3, stride=2, padding=1, output_padding=1)
        self.last = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        a = torch.relu(self.norm1(self.first(x)))
        b = torch.relu(self.grouped(torch.relu(self.depthwise(a))))
        c = torch.relu(self.up(torch.relu(self.norm2(self.down(b)))))
        return x + self.last(a + c)


def images(model, count, seed, side=24):
    """Pairs whose clean image is what the dense network gives: it is perfect, so every loss comes from the cut."""
    rng = np.random.default_rng(seed)
    noisy = rng.uniform(0.3, 0.7, size=(count, 3, side, side)).astype(np.float32)
    with torch.no_grad():
        clean = model(torch.from_numpy(noisy)).numpy()
    return ImageSet(tuple(Pair(str(k), n, c) for k, (n, c) in enumerate(zip(noisy, clean, strict=True))))


def splits_of(model):
    return Splits(None, images(model, 16, 1), images(model, 4, 2), images(model, 4, 3))


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "norms"])
def mixed(request):
    torch.manual_seed(0)
    model = Mixed(request.param)
    if request.param:
        model(torch.rand(8, 3, 24, 24))
    for parameter in model.last.parameters():
        parameter.data *= 0.1
    return model.eval()


@pytest.mark.parametrize("batchnorm", [False, True])
def test_every_kind_of_layer_is_fitted_and_unseen_images_gain(mixed, batchnorm):
    layout, splits = trace(mixed, torch.zeros(1, 3, 24, 24)), splits_of(mixed)
    keep = np.random.default_rng(0).uniform(size=layout.n) < 0.75
    fitted, notes = Ridge(batchnorm=batchnorm).fit(mixed, layout, keep, splits, seed=0)
    raw, compensated = (silenced_merit(Restoration(), model, layout, keep, splits.test) for model in (mixed, fitted))
    assert notes["accepted"] and compensated > raw + 1
    norms = ["norm1", "norm2"] if batchnorm and isinstance(mixed.norm1, nn.BatchNorm2d) else []
    assert {row["layer"] for row in notes["layers"]} == {"first", "depthwise", "grouped", "down", "up", "last", *norms}
    assert all(row["error_after"] <= row["error_before"] for row in notes["layers"])
    x = torch.rand(1, 3, 20, 28)
    small = shrink(fitted, layout, keep)
    with torch.no_grad(), silence(fitted, layout, keep):
        assert torch.allclose(small(x), fitted(x), atol=1e-5)


def test_a_filter_that_is_the_sum_of_others_is_made_up_for():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)).eval()
    with torch.no_grad():
        model[0].weight[3] = model[0].weight[:3].sum(dim=0)
        model[0].bias[3] = model[0].bias[:3].sum()
    layout = trace(model, torch.zeros(1, 3, 24, 24))
    keep, splits = np.array([True, True, True, False]), splits_of(model)
    fitted, _ = Ridge().fit(model, layout, keep, splits, seed=0)
    raw, compensated = (silenced_merit(Restoration(), one, layout, keep, splits.test) for one in (model, fitted))
    assert compensated > raw + 10


def test_what_makes_the_metric_worse_is_not_taken():
    torch.manual_seed(0)
    model = Mixed().eval()
    layout, splits = trace(model, torch.zeros(1, 3, 24, 24)), splits_of(model)
    keep = np.random.default_rng(0).uniform(size=layout.n) < 0.75
    with torch.no_grad(), silence(model, layout, keep):  # the pruned network is perfect on the refinement images
        pairs = [Pair(p.name, p.input, model(torch.from_numpy(p.input[None]))[0].numpy()) for p in splits.refinement.pairs]
    fitted, notes = Ridge().fit(model, layout, keep, dataclasses.replace(splits, refinement=ImageSet(tuple(pairs))), seed=0)
    assert fitted is model and not notes["accepted"]
    assert notes["refinement_psnr"]["after"] < notes["refinement_psnr"]["before"]
    assert "re-fitted weights were left out" in " ".join(compensation_warnings(Restoration(), notes))


def test_with_one_calibration_image_every_layer_stays_as_it_is():
    torch.manual_seed(0)
    model = Mixed().eval()
    layout, splits = trace(model, torch.zeros(1, 3, 24, 24)), splits_of(model)
    keep = np.random.default_rng(0).uniform(size=layout.n) < 0.75
    few = dataclasses.replace(splits, calibration=ImageSet(splits.calibration.pairs[:1]))
    fitted, notes = Ridge().fit(model, layout, keep, few, seed=0)
    assert fitted is model and {row["chosen"] for row in notes["layers"]} == {"as it is"}
    assert "it needs at least two" in " ".join(compensation_warnings(Restoration(), notes))


def test_statistics_of_a_norm_are_measured_anew_only_where_that_helps(mixed):
    if not isinstance(mixed.norm1, nn.BatchNorm2d):
        pytest.skip("no norms in this network")
    layout, splits = trace(mixed, torch.zeros(1, 3, 24, 24)), splits_of(mixed)
    keep = np.random.default_rng(0).uniform(size=layout.n) < 0.75
    _, notes = Ridge(batchnorm=True).fit(mixed, layout, keep, splits, seed=0)
    rows = {row["layer"]: row for row in notes["layers"]}
    for name in ("norm1", "norm2"):
        assert rows[name]["chosen"] in ("as it is", "recalibrated")
        assert (rows[name]["chosen"] == "recalibrated") == (rows[name]["error_after"] < rows[name]["error_before"])


def test_dropped_channels_have_no_say_in_what_becomes_of_a_norm(mixed):
    if not isinstance(mixed.norm1, nn.BatchNorm2d):
        pytest.skip("no norms in this network")
    layout = trace(mixed, torch.zeros(1, 3, 24, 24))
    assert dict(Ridge(batchnorm=True)._names(mixed, layout))["norm1"] == "first"


def test_nothing_dropped_means_nothing_to_do(small_model, small_layout, small_splits):
    assert Ridge().fit(small_model, small_layout, np.ones(small_layout.n, bool), small_splits, 0) == (small_model, {})


def test_more_images_need_no_more_memory_than_sums(small_model, small_layout, small_splits):
    ridge, rng = Ridge(positions=100), np.random.default_rng(0)
    name = small_layout.groups[1].layer
    fit, held = ridge._moments(small_model, small_model, name, small_splits.calibration, rng)
    layer = small_model.get_submodule(name)
    inputs = layer.in_channels * 9 + 1
    assert fit.inner.shape == (1, inputs, inputs) and fit.cross.shape == (1, inputs, layer.out_channels)
    assert fit.inner.dtype == torch.float64 and 0 < fit.count + held.count <= 100 + len(small_splits.calibration)


def test_bad_settings_are_refused():
    with pytest.raises(UserError, match=r"compensate\.positions=0: give a number of positions"):
        Ridge(positions=0)


@pytest.mark.slow
def test_a_run_says_what_compensation_was_worth(refitted):
    metrics = read(refitted)
    said, stages = metrics["compensation"], metrics["stages"]
    assert said["accepted"] == (said["refinement_psnr"]["after"] > said["refinement_psnr"]["before"])
    assert (stages["compensated"]["psnr"] != stages["refined"]["psnr"]) == said["accepted"]
    assert stages["compensated"]["params"] == stages["refined"]["params"]
    assert len(rows_of(refitted, "compensation.csv")) == len(trace(HalfUNet(width=8, depth=3).build()).groups) + 1


def test_a_network_that_was_trained_behind_a_mask_aims_at_what_it_gave_there(small_model, small_layout, small_splits):
    rng = np.random.default_rng(0)
    before = np.ones(small_layout.n, bool)
    before[rng.choice(small_layout.n, small_layout.n // 4, replace=False)] = False
    keep = before.copy()
    keep[rng.choice(np.flatnonzero(before), small_layout.n // 6, replace=False)] = False
    _, same = Ridge().fit(small_model, small_layout, before, small_splits, 0, before)
    assert all(row["error_before"] < 1e-9 for row in same["layers"])
    merit = same["refinement_psnr"]  # nothing is left to fit; on some processors rounding alone is an improvement
    assert not same["accepted"] or merit["after"] == pytest.approx(merit["before"], abs=1e-5)
    _, plain = Ridge().fit(small_model, small_layout, keep, small_splits, 0)
    _, behind = Ridge().fit(small_model, small_layout, keep, small_splits, 0, before)
    errors = [sum(row["error_before"] for row in notes["layers"]) for notes in (plain, behind)]
    assert errors[1] < errors[0] and not any(module._forward_hooks for module in small_model.modules())
