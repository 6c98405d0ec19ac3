import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.calibration.loss import LOSSES
from qprune_cli.errors import UserError
from qprune_cli.graph.trace import trace
from qprune_cli.model.nafnet import NAFNet
from qprune_cli.model.unet import UNet
from qprune_cli.scorer.leave_one_out import LeaveOneOut
from qprune_cli.surgery.silence import silence
from qprune_cli.types import Splits
from tests.calibration.test_gates import InPlace, classifier, labelled, pictures
from tests.scorer.conftest import three_filters


def alone(model, layout, images, loss, keep):
    """(n,) rises by a plain silenced forward pass for every filter."""
    noisy, clean = next(images.batches(len(images)))

    def value(mask):
        with torch.no_grad(), silence(model, layout, mask):
            return float(LOSSES[loss](model(torch.tensor(noisy)), torch.tensor(clean)).mean())

    found = []
    for i in range(layout.n):
        without, beside = keep.copy(), keep.copy()
        without[i], beside[i] = False, True
        found.append(value(without) - value(beside))
    return np.array(found)


def naf():
    model = NAFNet(width=2, encoder=(1,), middle=1, decoder=(1,), weights=None).build()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("beta", "gamma")):
                weight.normal_()
    return model


def unet():
    return UNet(width=3, depth=2, weights=None).build()


def in_place():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), InPlaceTail())


class InPlaceTail(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.head(self.act(self.conv(x) + x))


CASES = [
    (naf, pictures, "psnr", "filter"),
    (naf, pictures, "psnr", "group"),
    (unet, pictures, "l1", "filter"),
    (InPlace, pictures, "mse", "group"),
    (in_place, pictures, "mse", "filter"),
    (classifier, labelled, "cross_entropy", "filter"),
]


@pytest.mark.parametrize("masked", [False, True], ids=["dense", "masked"])
@pytest.mark.parametrize(("network", "data", "loss", "granularity"), CASES)
def test_scores_equal_a_silenced_forward_pass_for_every_filter(network, data, loss, granularity, masked):
    torch.manual_seed(0)
    model = network().double().eval()
    layout, images = trace(model, granularity=granularity), data()
    keep = np.arange(layout.n) % 3 > 0 if masked else np.ones(layout.n, bool)
    scores = LeaveOneOut(images=3, loss=loss, batch=2).score(model, layout, Splits(None, images, images, images), 0, keep)
    live = ~scores.dead
    assert live.sum() > layout.n / 2
    assert np.allclose(scores.linear[live], alone(model, layout, images, loss, keep)[live], rtol=1e-9, atol=1e-12)


def test_leave_one_out_of_three_filters_by_hand():
    # output 1.5 of 1; without the first 1, without the second 0.5; the third is 0 anyway
    model, layout, splits = three_filters()
    scores = LeaveOneOut(loss="mse").score(model, layout, splits, 0)
    assert np.allclose(scores.linear[:2], [-0.25, 0.0]) and scores.linear[2] < -0.25
    assert scores.dead.tolist() == [False, False, True]


def test_pictures_are_cut_to_their_centre():
    torch.manual_seed(0)
    model = in_place().double().eval()
    layout, images = trace(model), pictures(side=13)
    centre = type(images)(tuple(pair._replace(input=pair.input[:, 3:9, 3:9], target=pair.target[:, 3:9, 3:9]) for pair in images.pairs))
    found, expected = (LeaveOneOut(patch=6).score(model, layout, Splits(None, part, part, part), 0).linear for part in (images, centre))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("settings", [{"images": 0}, {"patch": 0}, {"loss": "pnsr"}, {"batch": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        LeaveOneOut(**settings)
