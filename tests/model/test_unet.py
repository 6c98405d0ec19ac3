import pytest
import torch

from qprune_cli.errors import UserError
from qprune_cli.model.unet import UNet


@pytest.mark.parametrize(("component", "expected"), [(UNet(channels=1, width=64, depth=5), 31030593), (UNet(), 1083675)])
def test_parameter_counts(component, expected):
    assert sum(p.numel() for p in component.build().parameters()) == expected


def test_any_size_is_taken():
    assert UNet(width=4, depth=3).build()(torch.zeros(2, 3, 13, 22)).shape == (2, 3, 13, 22)


@pytest.mark.parametrize("setting", [{"channels": 2}, {"width": 0}, {"depth": 0}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UserError, match=f"model.{next(iter(setting))}"):
        UNet(**setting)
