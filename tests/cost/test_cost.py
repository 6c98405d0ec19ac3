from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from qprune_cli.cost.cost import Cost
from qprune_cli.graph.trace import trace
from qprune_cli.model.half_unet import HalfUNet


def counted(model, shape):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, *shape))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("ghost", [False, True])
@pytest.mark.parametrize("shape", [(3, 32, 48), (3, 20, 25)])
def test_dense_network_costs_what_torch_counts(ghost, shape):
    model = HalfUNet(width=6, depth=3, ghost=ghost).build()
    layout = trace(model)
    dense = Cost(model, layout, shape).footprint(np.ones(layout.n, bool))
    assert dense.params == sum(p.numel() for p in model.parameters())
    assert dense.macs == counted(model, shape)
    assert dense.filters == layout.n


def chain(widths):
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@settings(max_examples=20)
@given(st.lists(st.integers(1, 6), min_size=3, max_size=3), st.integers(0, 1000))
def test_a_pruned_chain_costs_what_the_smaller_chain_costs(kept, seed):
    model = chain([3, 6, 6, 6, 3])
    layout = trace(model)
    rng = np.random.default_rng(seed)
    keep = np.concatenate([rng.permutation(6) < count for count in kept])
    small = chain([3, *kept, 3])
    found = Cost(model, layout, (3, 8, 10)).footprint(keep)
    assert found.params == sum(p.numel() for p in small.parameters())
    assert found.macs == counted(small, (3, 8, 10))
