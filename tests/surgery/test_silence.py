import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from qprune_cli.graph.trace import trace
from qprune_cli.model.half_unet import HalfUNet
from qprune_cli.surgery.silence import silence

IMAGE = torch.rand(1, 3, 17, 24, generator=torch.Generator().manual_seed(0))


def with_zeroed_consumers(model, layout, keep):
    """The same network in which every dropped filter's weights and bias are zero, so that ReLU gives 0."""
    with torch.no_grad():
        for group, mask in zip(layout.groups, layout.split(keep).values(), strict=True):
            conv = model.get_submodule(group.layer)
            conv.weight[~torch.from_numpy(mask)] = 0
            conv.bias[~torch.from_numpy(mask)] = 0
    return model


@pytest.mark.parametrize("ghost", [False, True])
@settings(max_examples=8)
@given(seed=st.integers(0, 1000))
def test_silenced_network_equals_one_with_zeroed_filters(ghost, seed):
    torch.manual_seed(0)
    first, second = (HalfUNet(width=4, depth=3, ghost=ghost).build().eval() for _ in range(2))
    second.load_state_dict(first.state_dict())
    layout = trace(first)
    keep = np.random.default_rng(seed).uniform(size=layout.n) < 0.5
    with torch.no_grad(), silence(first, layout, keep):
        silenced = first(IMAGE)
    assert torch.allclose(silenced, with_zeroed_consumers(second, layout, keep)(IMAGE), atol=1e-6)


def test_network_is_as_before_after_the_block(small_model, small_layout):
    with torch.no_grad():
        before = small_model(IMAGE)
        with silence(small_model, small_layout, np.zeros(small_layout.n, bool)):
            assert not torch.equal(small_model(IMAGE), before)
        assert torch.equal(small_model(IMAGE), before)


def test_the_bias_of_a_dropped_filter_is_gone_too():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False))
    with torch.no_grad(), silence(model, trace(model), {"0": np.array([False, False])}):
        assert float(model(torch.ones(1, 1, 1, 1))) == 0


@pytest.mark.parametrize("keep", [{"nowhere": np.array([True])}, {"encoder.0.0.conv": np.array([True])}])
def test_masks_that_do_not_fit_are_refused(small_model, small_layout, keep):
    with pytest.raises(ValueError, match="keep"), silence(small_model, small_layout, keep):
        pass
