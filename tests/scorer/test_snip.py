import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.calibration.loss import LOSSES
from qprune_cli.scorer.snip import Snip
from qprune_cli.types import Splits
from tests.calibration.test_gates import classifier, double, labelled, pictures, plain, tensors
from tests.scorer.conftest import three_filters


def upscaling():
    return nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.ReLU(inplace=True), nn.ConvTranspose2d(4, 6, 2, 2, groups=2), nn.Conv2d(6, 3, 1))


def test_snip_of_three_filters_by_hand():
    # weights 1, 2, -1; the output is w x where w > 0, so dL/dw = 2 * 0.5 * 0.5 = 0.5 for the live ones
    model, layout, splits = three_filters()
    scores = Snip(loss="mse").score(model, layout, splits, 0)
    assert np.allclose(scores.linear[:2], [0.5, 1.0]) and scores.linear[2] < 0.5
    assert scores.dead.tolist() == [False, False, True]


@pytest.mark.parametrize("granularity", ["filter", "group"])
@pytest.mark.parametrize(
    ("network", "data", "loss"), [(plain, pictures, "psnr"), (upscaling, pictures, "mse"), (classifier, labelled, "cross_entropy")]
)
def test_snip_of_the_dense_network_is_that_of_the_gradient_of_its_weights(network, data, loss, granularity):
    model, layout = double(network, granularity)
    images = data()
    noisy, clean = tensors(images)
    scores = Snip(loss=loss, batch=2).score(model, layout, Splits(None, images, images, images), 0)
    assert all(weight.grad is None for weight in model.parameters())
    LOSSES[loss](model(noisy), clean).mean().backward()
    expected = []
    for group in layout.groups:
        total = np.zeros(group.channels)
        for member in group.members:
            module = model.get_submodule(member.layer)
            size = (module.weight * module.weight.grad).abs().detach()
            if isinstance(module, nn.ConvTranspose2d):  # group k makes filters 3 k to 3 k + 2
                size = torch.cat(size.chunk(module.groups), dim=1).transpose(0, 1)
            total += size.flatten(1).sum(dim=1).numpy()[list(member.filters)]
        expected.append(total)
    live = ~scores.dead
    assert live.any() and np.allclose(scores.linear[live], np.concatenate(expected)[live])


def test_a_dropped_filter_is_scored_by_what_its_weights_could_do_behind_an_open_gate():
    # only the first is open: the output is 0.5 of 1, so dL/dw = 2 * -0.5 * 0.5
    model, layout, splits = three_filters()
    scores = Snip(loss="mse").score(model, layout, splits, 0, np.array([True, False, True]))
    assert np.allclose(scores.linear[:2], [0.5, 1.0])
    model[0].weight.data[1] = 3.0
    assert np.allclose(Snip(loss="mse").score(model, layout, splits, 0, np.array([True, False, True])).linear[:2], [0.5, 1.5])


def test_what_a_dropped_filter_says_does_not_reach_the_layers_before_it():
    model, layout = double(lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1)))
    images = pictures()
    splits = Splits(None, images, images, images)
    keep = np.array([True] * 3 + [False] * 3)
    found = Snip(loss="mse").score(model, layout, splits, 0, keep).linear
    assert found[:3].max() <= 0 < found[3:].max()
