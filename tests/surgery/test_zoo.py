"""Any mask, any network of the zoo: the smaller network equals the silenced one, and has the size that was said."""

import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from qprune_cli.cost.cost import Cost, footprint_of
from qprune_cli.errors import StructureError
from qprune_cli.graph.trace import trace
from qprune_cli.surgery.shrink import shrink
from qprune_cli.surgery.silence import silence
from scripts.zoo import ZOO, difference, shaken

GRANULARITIES = ("filter", "group")


@cache
def subject(name, granularity, dtype):
    entry = ZOO[name]
    torch.manual_seed(0)
    model = shaken(entry.narrow()).to(dtype)
    image = torch.rand(2, *entry.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    layout = trace(model, image, granularity)
    return model, layout, image, Cost(model, layout, entry.shape)


def random_mask(layout, seed, share):
    return np.random.default_rng(seed).uniform(size=layout.n) < share


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("name", ZOO)
@settings(max_examples=2)
@given(seed=st.integers(0, 10**6), share=st.floats(0, 1))
def test_shrunk_network_equals_silenced_network(name, granularity, dtype, most, seed, share):
    model, layout, image, cost = subject(name, granularity, dtype)
    keep = random_mask(layout, seed, share)
    small = shrink(model, layout, keep)
    assert difference(model, small, layout, keep, image) <= most
    said, found = cost.footprint(keep), footprint_of(small, cost.shape)
    assert (said.params, said.macs) == (found.params, found.macs)
    assert small.state_dict().keys() <= model.state_dict().keys()


@pytest.mark.parametrize("name", ZOO)
def test_a_mask_changes_the_output(name):
    model, layout, image, _ = subject(name, "filter", torch.float64)
    keep = random_mask(layout, 0, 0.5)
    with torch.no_grad(), silence(model, layout, keep):
        silenced = model(image)
    assert not torch.allclose(silenced, model(image))


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("name", ZOO)
def test_nothing_dropped_is_the_same_network(name, granularity):
    model, layout, image, cost = subject(name, granularity, torch.float32)
    small = shrink(model, layout, np.ones(layout.n, bool))
    assert torch.equal(small(image), model(image))
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in small.state_dict().items())
    said, dense = cost.footprint(np.ones(layout.n, bool)), footprint_of(model, cost.shape)
    assert (said.params, said.macs) == (dense.params, dense.macs)


@pytest.mark.parametrize("name", ZOO)
def test_groups_need_no_scatter(name):
    model, layout, _, _ = subject(name, "group", torch.float32)
    for seed in range(5):
        keep = random_mask(layout, seed, 0.5)
        for part in layout.split(keep).values():
            part[0] = True
        assert not [part for part, _ in shrink(model, layout, keep).named_modules() if "scatter" in part]


@pytest.mark.parametrize("name", ZOO)
def test_shrunk_network_trains_and_moves(name):
    model, layout, image, _ = subject(name, "filter", torch.float32)
    small = shrink(model, layout, random_mask(layout, 0, 0.6)).train()
    loss = small(image).square().mean()
    loss.backward()
    gradients = [parameter.grad for parameter in small.parameters() if parameter.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)
    torch.optim.SGD(small.parameters(), 1e-3).step()
    moved = small.to("meta")
    assert {tensor.device.type for tensor in (*moved.parameters(), *moved.buffers())} == {"meta"}
    assert moved(image.to("meta")).shape == model(image).shape


@pytest.mark.slow
def test_shrunk_networks_load_in_a_process_that_never_saw_the_original(tmp_path):
    asked = {}
    for name in ZOO:
        model, layout, image, _ = subject(name, "filter", torch.float32)
        small = shrink(model, layout, random_mask(layout, 0, 0.5)).eval()
        torch.save(small, tmp_path / f"{name}.pt")
        with torch.no_grad():
            asked[name] = (image, small(image))
    torch.save(asked, tmp_path / "asked.pt")
    program = (
        "import sys, torch\n"
        "for name, (image, output) in torch.load('asked.pt').items():\n"
        "    small = torch.load(f'{name}.pt', weights_only=False)\n"
        "    assert 'scripts.zoo' not in sys.modules and not any('model' in m for m in sys.modules if m.startswith('qprune_cli'))\n"
        "    with torch.no_grad(): assert torch.equal(small(image), output), name\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True)


def test_masks_can_be_given_by_layer():
    model, layout, image, _ = subject("DnCNN", "filter", torch.float64)
    keep = random_mask(layout, 3, 0.5)
    first, second = shrink(model, layout, keep), shrink(model, layout, layout.masks(keep))
    assert torch.equal(first(image), second(image))
    with pytest.raises(ValueError, match="keep names layers that are not in the layout: nowhere"):
        shrink(model, layout, {"nowhere": np.ones(3, bool)})
    with pytest.raises(ValueError, match="give a bool mask"):
        shrink(model, layout, np.ones(layout.n))


def test_the_layout_of_another_network_is_refused():
    model, layout, _, _ = subject("DnCNN", "filter", torch.float64)
    other, _, image, _ = subject("U-Net", "filter", torch.float64)
    keep = random_mask(layout, 0, 0.5)
    with pytest.raises(StructureError, match=r"layer 'body.0': no such layer in this network, 6 in the layout"):
        shrink(other, layout, keep)
    with pytest.raises(StructureError, match="no such layer"), silence(other, layout, keep):
        other(image)
    assert model is not other


def test_shrinking_leaves_the_network_as_it_is():
    model, layout, _, _ = subject("residual BatchNorm", "filter", torch.float32)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    small = shrink(model, layout, random_mask(layout, 0, 0.5))
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert isinstance(small, nn.Module) and not small.training
