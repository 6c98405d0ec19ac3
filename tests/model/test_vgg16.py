import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.errors import UserError
from qprune_cli.graph.trace import trace
from qprune_cli.model.vgg16 import VGG16
from qprune_cli.surgery.shrink import shrink
from scripts.zoo import difference, shaken


@pytest.mark.parametrize(("affine", "expected"), [(True, 14986698), (False, 14986698 - 2 * 4224)])
def test_parameter_counts(affine, expected):
    network = VGG16(affine=affine).build()
    assert sum(p.numel() for p in network.parameters()) == expected
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 13


@pytest.mark.parametrize(("side", "left"), [(8, 1), (28, 1), (32, 1), (63, 1), (64, 2)])
def test_images_are_pooled_until_one_pixel_is_left(side, left):
    network = VGG16(side=side, width=2, hidden=5).build().eval()
    assert network.features(torch.zeros(1, 3, side, side)).shape == (1, 16, left, left)
    assert network(torch.zeros(2, 3, side, side)).shape == (2, 10)


@pytest.mark.parametrize("pool", ["average", "max"])
@pytest.mark.parametrize("affine", [True, False])
def test_shrunk_network_equals_silenced_network(affine, pool):
    network, image = shaken(VGG16(width=2, hidden=16, pool=pool, affine=affine).build()), torch.rand(3, 3, 32, 32)
    layout = trace(network, torch.empty(1, 3, 32, 32))
    assert layout.n == 66 * 2 + 16
    for seed in range(2):
        keep = np.random.default_rng(seed).uniform(size=layout.n) < 0.7
        assert difference(network, shrink(network, layout, keep), layout, keep, image) <= 1e-5


@pytest.mark.parametrize("setting", [{"channels": 4}, {"side": 7}, {"classes": 1}, {"width": 0}, {"hidden": 0}, {"pool": "mean"}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UserError, match=f"model.{next(iter(setting))}"):
        VGG16(**setting)
