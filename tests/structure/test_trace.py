import pytest
import torch
from torch import nn

from qprune_cli.errors import StructureError
from qprune_cli.model.half_unet import HalfUNet
from qprune_cli.structure.trace import trace


def test_plain_half_unet_has_768_filters_in_12_layers():
    layout = trace(HalfUNet().build())
    assert layout.n == 768 and len(layout.groups) == 12
    assert layout.groups[0].layer == "encoder.0.0.conv" and layout.groups[0].gate == "encoder.0.0.act"


def test_ghost_half_unet_counts_depthwise_filters_as_well():
    assert trace(HalfUNet(ghost=True).build()).n == 768


def test_filters_that_are_the_output_stay():
    names = [group.layer for group in trace(HalfUNet(width=4, depth=2).build()).groups]
    assert "head" not in names


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.head(self.conv(self.conv(x)))


class Reshaped(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.head = nn.Conv2d(1, 3, 1)

    def forward(self, x):
        return self.head(self.shuffle(self.conv(x)))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Twice(), "layer 'conv' is used 2 times"),
        (nn.Sequential(nn.Conv2d(3, 3, 1)), "no 2-D convolution whose filters could go"),
        (Branching(), "torch.fx cannot follow"),
    ],
)
def test_networks_that_cannot_be_pruned_are_refused(model, message):
    with pytest.raises(StructureError, match=message):
        trace(model)


class Shifted(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)) + 1)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (Reshaped(), "PixelShuffle"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1)), "BatchNorm2d"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sigmoid(), nn.Conv2d(4, 3, 1)), "Sigmoid"),
        (Shifted(), "add"),
    ],
)
def test_an_operation_without_a_rule_is_refused_by_name(model, name):
    with pytest.raises(StructureError, match=f"operation '{name}'"):
        trace(model)


def test_example_states_the_channels_of_the_image():
    model = HalfUNet(width=4, depth=2).build()
    assert trace(model, torch.zeros(1, 3, 8, 8)) == trace(model)


def test_an_activation_shared_by_two_layers_is_not_taken_for_a_gate():
    act = nn.ReLU()
    model = nn.Sequential(nn.Conv2d(3, 4, 1), act, nn.Conv2d(4, 4, 1), act, nn.Conv2d(4, 3, 1))
    assert [group.gate for group in trace(model).groups] == ["0", "2"]
    assert torch.isfinite(model(torch.zeros(1, 3, 4, 4))).all()
