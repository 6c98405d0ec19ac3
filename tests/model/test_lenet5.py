import numpy as np
import pytest
import torch

from qprune_cli.errors import UserError
from qprune_cli.graph.trace import trace
from qprune_cli.model.lenet5 import LeNet5
from qprune_cli.surgery.shrink import shrink
from scripts.zoo import difference, shaken


@pytest.mark.parametrize(
    ("component", "expected"), [(LeNet5(), 61706), (LeNet5(side=32), 61706), (LeNet5(side=32, channels=3), 62006), (LeNet5(side=8), 21386)]
)
def test_parameter_counts(component, expected):
    assert sum(p.numel() for p in component.build().parameters()) == expected


@pytest.mark.parametrize(("side", "left"), [(8, 2), (15, 3), (16, 2), (28, 5), (32, 5), (64, 13)])
def test_linear_layers_read_what_the_side_leaves(side, left):
    network = LeNet5(side=side).build()
    assert network.features(torch.zeros(1, 1, side, side)).shape == (1, 16, left, left)
    assert network(torch.zeros(2, 1, side, side)).shape == (2, 10)


@pytest.mark.parametrize("pool", ["average", "max"])
@pytest.mark.parametrize("side", [8, 28, 32])
def test_shrunk_network_equals_silenced_network(side, pool):
    network, image = shaken(LeNet5(side=side, pool=pool).build()), torch.rand(3, 1, side, side)
    layout = trace(network, torch.empty(1, 1, side, side))
    assert layout.n == 6 + 16 + 120 + 84
    for seed in range(5):
        keep = np.random.default_rng(seed).uniform(size=layout.n) < 0.5
        assert difference(network, shrink(network, layout, keep), layout, keep, image) <= 1e-5


@pytest.mark.parametrize("setting", [{"channels": 2}, {"side": 7}, {"classes": 0}, {"pool": "median"}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UserError, match=f"model.{next(iter(setting))}"):
        LeNet5(**setting)
