import pytest
import torch

from qprune_cli.cost.cost import footprint_of
from qprune_cli.errors import UserError
from qprune_cli.model.nafnet import LayerNorm2d, NAFNet

GOPRO = {"encoder": (1, 1, 1, 28), "middle": 1, "decoder": (1, 1, 1, 1)}


@pytest.mark.parametrize(
    ("settings", "millions"),
    [({"width": 32}, 29.16), ({"width": 64}, 115.98), ({"width": 32, **GOPRO}, 17.11), ({"width": 64, **GOPRO}, 67.89)],
)
def test_parameter_counts_are_those_published(settings, millions):
    with torch.device("meta"):
        network = NAFNet(**settings).build()
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == millions


def test_layer_norm_is_over_the_channels():
    x = torch.randn(2, 5, 3, 4)
    expected = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-6).sqrt()
    assert torch.allclose(LayerNorm2d(5, eps=1e-6)(x), expected, atol=1e-5)


def test_any_size_is_taken():
    network = NAFNet(width=4, encoder=(1, 1), middle=1, decoder=(1, 1)).build()
    assert network(torch.zeros(2, 3, 13, 22)).shape == (2, 3, 13, 22)


def test_footprint_is_counted_without_tracing():
    size = footprint_of(NAFNet(width=4, encoder=(1,), middle=0, decoder=(0,)).build(), (3, 16, 16))
    block = 4 * 8 + 8 * 9 + 4 * 4 + 4 * 8 + 4 * 4  # per position; the attention has one position
    whole = 27 * 4 + block + 4 * 27
    halved = 4 * 8 * 4 + 8 * 16
    assert size.macs == 256 * whole + 64 * halved + 4 * 4 and size.filters is None


@pytest.mark.parametrize("setting", [{"channels": 2}, {"width": 0}, {"encoder": (1,)}, {"encoder": (-1, 1, 1, 1)}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UserError, match=f"model.{next(iter(setting))}"):
        NAFNet(**setting)
