import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.structure.gates import LOSSES, gate_statistics
from qprune_cli.structure.redundancy import cosine, redundancy_pairs
from qprune_cli.structure.trace import trace
from qprune_cli.types import FilterGroup, ImageSet, Layout, Pair


def loss_with_gate(model, layout, pair, loss, i, z):
    """Loss of one image with gate i at z, in float64."""
    group = layout.groups[layout.layer_of[i]]
    channel = i - int(np.flatnonzero(layout.layer_of == layout.layer_of[i])[0])

    def scale(module, inputs, output):
        factor = torch.ones(output.shape[1], dtype=output.dtype)
        factor[channel] = z
        return output * factor.view(1, -1, 1, 1)

    handle = model.get_submodule(group.gate).register_forward_hook(scale)
    noisy, clean = (torch.from_numpy(picture)[None].double() for picture in (pair.noisy, pair.clean))
    with torch.no_grad():
        value = float(LOSSES[loss](model(noisy), clean))
    handle.remove()
    return value


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_gate_gradients_equal_finite_differences(small_splits, loss):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=2)).eval()
    model.add_module("pad", nn.Conv2d(3, 3, 1, padding=1))
    layout = trace(model)
    pairs = small_splits.calibration.pairs[:3]
    seen = gate_statistics(model, layout, ImageSet(pairs), loss, batch=2)
    assert seen.gradients.shape == (3, layout.n)
    double = model.double()
    for s, pair in enumerate(pairs):
        for i in range(layout.n):
            step = 1e-4
            slope = (loss_with_gate(double, layout, pair, loss, i, 1 + step) - loss_with_gate(double, layout, pair, loss, i, 1 - step)) / (
                2 * step
            )
            assert np.isclose(seen.gradients[s, i], slope, rtol=1e-3, atol=1e-6)


def test_statistics_do_not_depend_on_the_batch(small_model, small_layout, small_splits):
    one, many = (gate_statistics(small_model, small_layout, small_splits.calibration, "psnr", batch) for batch in (1, 4))
    assert np.allclose(one.gradients, many.gradients, rtol=1e-3, atol=1e-6)
    for a, b in zip(one.products, many.products, strict=True):
        assert np.allclose(a, b, rtol=1e-4)
    assert np.array_equal(one.dead, many.dead)


def test_products_are_those_of_the_stored_activations(small_model, small_layout, small_splits):
    stored = {}
    hooks = [
        small_model.get_submodule(group.gate).register_forward_hook(lambda m, i, o, gate=group.gate: stored.__setitem__(gate, o))
        for group in small_layout.groups
    ]
    noisy, _ = next(small_splits.calibration.batches(4))
    with torch.no_grad():
        small_model(torch.from_numpy(noisy))
    for hook in hooks:
        hook.remove()
    seen = gate_statistics(small_model, small_layout, small_splits.calibration, "psnr", 2)
    for group, products in zip(small_layout.groups, seen.products, strict=True):
        maps = stored[group.gate].transpose(0, 1).flatten(1).double()
        assert np.allclose(products, (maps @ maps.T).numpy(), rtol=1e-4)


def test_a_filter_that_never_fires_is_dead():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1))
    with torch.no_grad():
        model[0].weight.fill_(1)
        model[0].bias.copy_(torch.tensor([-10.0, 1.0]))
    picture = np.full((1, 4, 4), 0.5, np.float32)
    seen = gate_statistics(model, trace(model), ImageSet((Pair("a", picture, picture),)), "mse", 1)
    assert seen.dead.tolist() == [True, False]


def test_cosine_is_that_of_the_vectors_and_0_with_a_dead_one():
    vectors = np.random.default_rng(0).normal(size=(4, 9))
    vectors[2] = 0
    found = cosine(vectors @ vectors.T)
    assert np.isclose(found[0, 1], vectors[0] @ vectors[1] / np.linalg.norm(vectors[0]) / np.linalg.norm(vectors[1]))
    assert not found[2].any()


def test_pairs_at_beta_1_add_the_mean_worth_to_a_marginal_when_half_the_layer_is_gone():
    layout = Layout((FilterGroup("a", "a", 6), FilterGroup("b", "b", 8)))
    rng = np.random.default_rng(0)
    products = [(lambda v: v @ v.T)(rng.uniform(size=(group.channels, 20))) for group in layout.groups]
    worth = rng.uniform(size=layout.n)
    pairs = redundancy_pairs(layout, products, worth, beta=1.0)
    expected = layout.split(0.5 * pairs.sums(layout.n)[1])
    for name, own in layout.split(worth).items():
        assert np.isclose(expected[name].mean(), own.mean())
    assert redundancy_pairs(layout, products, worth, beta=0.0).empty


class InPlace(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act, self.head = torch.nn.Conv2d(3, 4, 1), torch.nn.ReLU(), torch.nn.Conv2d(4, 3, 1)
        self.skip = torch.nn.Conv2d(3, 4, 1)

    def forward(self, x):
        x -= 0.1
        y = self.act(self.conv(x))
        y += self.skip(x)
        return self.head(y)


@pytest.mark.parametrize("granularity", ["filter", "group"])
def test_gate_gradients_of_a_network_that_works_in_place_equal_finite_differences(granularity, small_splits):
    torch.manual_seed(0)
    model = InPlace().double().eval()
    layout = trace(model, granularity=granularity)
    pairs = tuple(Pair(p.name, p.noisy.astype(np.float64), p.clean.astype(np.float64)) for p in small_splits.calibration.pairs[:2])
    images = ImageSet(pairs)
    found = gate_statistics(model, layout, images, "mse", 8)
    noisy, clean = next(images.batches(8))

    def loss(scale):
        hooks = []
        for group, part in zip(layout.groups, layout.split(scale).values(), strict=True):
            for member in group.members:
                factor = torch.from_numpy(part)[:, None, None]
                hooks.append(model.get_submodule(member.gate).register_forward_hook(lambda m, i, o, f=factor: o * f))
        with torch.no_grad():
            value = LOSSES["mse"](model(torch.from_numpy(noisy.copy())), torch.from_numpy(clean)).numpy()
        for hook in hooks:
            hook.remove()
        return value

    for k in range(layout.n):
        step = np.zeros(layout.n)
        step[k] = 1e-5
        assert np.allclose((loss(1 + step) - loss(1 - step)) / 2e-5, found.gradients[:, k], rtol=1e-5, atol=1e-9)
