"""Working in place changes neither outputs nor gradients; channels side by side change no output."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qprune_cli.graph.modules import Onto, Scatter, Select, runs
from qprune_cli.graph.trace import trace
from qprune_cli.model.half_unet import HalfUNet
from qprune_cli.surgery import shrink as shrinking
from qprune_cli.surgery.arrange import side_by_side
from scripts.zoo import ZOO, difference, shaken

MASKS = st.lists(st.lists(st.booleans(), min_size=12, max_size=12), min_size=1, max_size=4)


@pytest.mark.parametrize("name", ["Half-UNet", "REDNet", "residual BatchNorm", "DnCNN"])
def test_in_place_gives_the_same_outputs_and_gradients_bit_for_bit(name, monkeypatch):
    torch.manual_seed(0)
    entry = ZOO[name]
    model, image = entry.narrow().eval(), torch.rand(2, *entry.shape)
    layout = trace(model, image)
    keep = np.random.default_rng(0).uniform(size=layout.n) < 0.6
    fast = shrinking.shrink(model, layout, keep)
    monkeypatch.setattr(shrinking, "reuse_", lambda network: None)
    plain = shrinking.shrink(model, layout, keep)
    assert fast.code != plain.code or any(getattr(module, "inplace", False) for module in fast.modules())
    results = []
    for network in (fast, plain):
        x = image.clone().requires_grad_()
        y = network(x)
        grads = torch.autograd.grad(y.square().sum(), [x, *network.parameters()], allow_unused=True)
        results.append([y, *(grad for grad in grads if grad is not None)])
    assert len(results[0]) == len(results[1]) and all(torch.equal(*pair) for pair in zip(*results, strict=True))


@pytest.mark.parametrize("name", ["Half-UNet", "Half-UNet Ghost", "REDNet"])
@pytest.mark.slow
def test_sums_of_many_branches_are_exact_for_many_masks(name):
    entry, rng = ZOO[name], np.random.default_rng(0)
    model, image = shaken(entry.narrow()).double(), torch.rand(1, *entry.shape, dtype=torch.float64)
    layout = trace(model, image)
    groups = list(layout.split(np.arange(layout.n)).values())
    for _ in range(15):  # a sum may end in one branch that is whole, after others that were scattered
        keep = rng.uniform(size=layout.n) < rng.uniform()
        keep[groups[rng.integers(len(groups))]] = True
        assert difference(model, shrinking.shrink(model, layout, keep), layout, keep, image) < 1e-10


def test_a_smaller_half_unet_scatters_runs_and_adds_them_in_place():
    model = HalfUNet(width=16, depth=4).build().eval()
    layout = trace(model)
    small = shrinking.shrink(model, layout, np.random.default_rng(1).uniform(size=layout.n) < 0.5)
    kinds = [module for module in small.modules() if isinstance(module, Scatter | Onto)]
    assert sum(isinstance(module, Onto) for module in kinds) == 3 and sum(isinstance(module, Scatter) for module in kinds) <= 1
    largest = sorted(kinds, key=lambda module: -len(getattr(module, "places", getattr(module, "index", ()))))[:2]
    assert all(len(module.runs) <= 2 for module in largest)


@given(MASKS)
def test_side_by_side_is_an_order_in_which_the_two_largest_masks_are_one_run_each(masks):
    masks = [np.array(mask) for mask in masks]
    order = side_by_side(masks)
    assert sorted(order.tolist()) == list(range(12))
    for mask in sorted(masks, key=lambda one: -int(one.sum()))[:2]:
        assert len(runs(np.flatnonzero(mask[order]).tolist())) <= 1


@settings(max_examples=30)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.booleans())
def test_select_and_scatter_are_indexing_and_keep_the_order_of_the_memory(mask, last):
    index = np.flatnonzero(mask).tolist()
    order = torch.channels_last if last else torch.contiguous_format
    x = torch.randn(2, len(mask), 3, 5).to(memory_format=order)
    scattered = Scatter(index, len(mask), 1)(x[:, index].to(memory_format=order))
    wanted = torch.zeros_like(x)
    wanted[:, index] = x[:, index]
    assert torch.equal(scattered, wanted)
    if index:
        assert torch.equal(Select(index, 1)(x), x[:, index])
        total = x.clone()
        assert torch.equal(Onto(index, 1)(total, x[:, index]), x + wanted)
    if len(index) > 1 and len(mask) > 1:
        assert scattered.is_contiguous(memory_format=order)


def test_the_dense_network_is_left_as_it_is():
    model = HalfUNet(width=8, depth=3).build().eval()
    before, layout = copy.deepcopy(model), trace(model)
    shrinking.shrink(model, layout, np.random.default_rng(0).uniform(size=layout.n) < 0.5)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), before.state_dict().values(), strict=True))
    assert not any(getattr(module, "inplace", False) for module in model.modules())
