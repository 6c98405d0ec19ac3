import torch
from torch import nn

from qprune_cli.regression.norm import MAX_SCALE, folded


def norm_of(mean, variance):
    norm = nn.BatchNorm2d(len(mean), eps=0.5).eval()
    norm.weight.data, norm.bias.data = torch.rand(len(mean)), torch.rand(len(mean))
    norm.running_mean.copy_(torch.tensor(mean))
    norm.running_var.copy_(torch.tensor(variance))
    return norm


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_folded_weights_are_those_of_a_norm_with_the_change_of_its_statistics():
    norm, conv = norm_of([1.0, 2.0], [1.5, 3.5]), nn.Conv2d(3, 2, 1)
    before, after = (doubles(1.0, 2.0), doubles(1.5, 3.5)), (doubles(3.0, -1.0), doubles(0.5, 15.5))
    weight, bias = folded(norm, (conv.weight.data, conv.bias.data), before, after)
    x, other = torch.rand(2, 3, 4, 4), norm_of([3.0, -1.0], [0.5, 15.5])
    other.load_state_dict(other.state_dict() | {"weight": norm.weight.data, "bias": norm.bias.data})
    with torch.no_grad():
        assert torch.allclose(norm(nn.functional.conv2d(x, weight, bias)), other(conv(x)), atol=1e-6)


def test_a_channel_that_stays_constant_is_left_as_it_is():
    norm, weight = norm_of([1.0], [0.0]), torch.ones(1, 3, 1, 1)
    flat = (doubles(1.0), doubles(0.0))
    found, bias = folded(norm, (weight, None), flat, flat)
    assert torch.equal(found, weight) and bias.tolist() == [0.0]


def test_a_channel_that_becomes_constant_is_scaled_a_bounded_number_of_times():
    norm, weight = norm_of([1.0], [1e6]), torch.ones(1, 3, 1, 1)
    found, _ = folded(norm, (weight, None), (doubles(1.0), doubles(1e6)), (doubles(1.0), doubles(0.0)))
    assert torch.equal(found, MAX_SCALE * weight)
