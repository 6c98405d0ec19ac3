import pytest
import torch

from qprune_cli.errors import UserError
from qprune_cli.model.half_unet import HalfUNet


@pytest.mark.parametrize(
    ("channels", "ghost", "published"),
    [(1, False, 406_913), (3, False, 408_195), (1, True, 207_329), (3, True, 208_035)],
)
def test_parameter_counts_equal_the_published_ones(channels, ghost, published):
    network = HalfUNet(channels=channels, ghost=ghost).build()
    assert sum(p.numel() for p in network.parameters()) == published


@pytest.mark.parametrize("ghost", [False, True])
@pytest.mark.parametrize("size", [(32, 48), (33, 47), (5, 9), (1, 1)])
def test_images_of_any_size_keep_their_size(size, ghost):
    network = HalfUNet(width=4, depth=4, ghost=ghost).build()
    assert network(torch.zeros(2, 3, *size)).shape == (2, 3, *size)


def test_padding_does_not_change_images_that_need_none():
    network = HalfUNet(width=4, depth=3).build().eval()
    image = torch.rand(1, 3, 16, 16)
    network.multiple = 1
    bare = network(image)
    network.multiple = 4
    assert torch.equal(network(image), bare)


def test_residual_network_adds_its_output_to_the_image():
    network = HalfUNet(width=4, depth=2).build()
    image = torch.rand(1, 3, 8, 8)
    with_image = network(image)
    network.residual = False
    assert torch.allclose(with_image - network(image), image, atol=1e-6)


@pytest.mark.parametrize("setting", [{"channels": 2}, {"width": 1}, {"width": 5, "ghost": True}, {"depth": 0}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UserError, match=f"model.{next(iter(setting))}"):
        HalfUNet(**setting)
