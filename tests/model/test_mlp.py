import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from qprune_cli.errors import UserError
from qprune_cli.graph.trace import trace
from qprune_cli.model.mlp import MLP
from qprune_cli.surgery.shrink import shrink
from qprune_cli.weights.checkpoint import save_weights, weights_digest
from scripts.zoo import difference, shaken


@pytest.mark.parametrize(
    ("component", "expected"),
    [(MLP(), 266610), (MLP(hidden=(200, 100, 100)), 188210), (MLP(side=8), 50610), (MLP(channels=3), 737010)],
)
def test_parameter_counts(component, expected):
    assert sum(p.numel() for p in component.build().parameters()) == expected


@pytest.mark.parametrize("component", [MLP(side=8), MLP(channels=3, side=9, hidden=(20, 10, 10), classes=4)])
def test_shrunk_network_equals_silenced_network(component):
    network, image = shaken(component.build()), torch.rand(3, component.channels, component.side, component.side)
    layout = trace(network, torch.empty(1, component.channels, component.side, component.side))
    assert layout.n == sum(component.hidden) and network(image).shape == (3, component.classes)
    for seed in range(5):
        keep = np.random.default_rng(seed).uniform(size=layout.n) < 0.5
        assert difference(network, shrink(network, layout, keep), layout, keep, image) <= 1e-5


def test_first_weights_keep_the_size_of_the_signal():
    torch.manual_seed(0)
    network = MLP(hidden=(500, 500, 500)).build()
    with torch.no_grad():
        values = network.body[:-1](torch.randn(200, 1, 28, 28))
    assert 0.5 < values.square().mean() < 2
    assert not any(bias.any() for name, bias in network.named_parameters() if name.endswith("bias"))


def test_weights_come_back_bit_for_bit(tmp_path):
    fresh = MLP(side=8).build()
    save_weights(fresh, tmp_path / "a.safetensors", {"config": json.dumps({"model": asdict(MLP(side=8))})})
    component = MLP(side=8, weights=str(tmp_path / "a.safetensors"))
    assert component.trained and weights_digest(component.load()) == weights_digest(fresh)
    with pytest.raises(UserError, match=r"made for another architecture, with model\.side=8"):
        replace(component, side=28).load()


@pytest.mark.parametrize("setting", [{"channels": 2}, {"side": 4}, {"classes": 1}, {"hidden": ()}, {"hidden": (100, 0)}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UserError, match=f"model.{next(iter(setting))}"):
        MLP(**setting)
