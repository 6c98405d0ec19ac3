"""What filters add to what is read equals what silencing them takes away."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from qprune_cli.embedding.contribution import contributions, logit_contributions, readers_of
from qprune_cli.embedding.masked_run import MaskedRun
from qprune_cli.graph.network import Network
from qprune_cli.graph.trace import trace
from qprune_cli.surgery.silence import silence
from tests.program.networks import lively

FIXED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.ReLU, nn.GELU)


@contextmanager
def hooks(handles):
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def seen(model, layout, keep, x, fixed=None):
    """What layers and activations read and give, before masks, with the network silenced.

    With ``fixed`` (from another run) each of them passes on what it gave then, so that what lies behind several of them is seen as if
    nothing before them had changed.
    """
    found = {}

    def hook(name):
        def look(module, inputs, output):
            found[name] = {"in": inputs[0].clone(), "out": output.clone()}
            return None if fixed is None else fixed[name]["out"]

        return look

    own = [module.register_forward_hook(hook(name)) for name, module in model.named_modules() if isinstance(module, FIXED)]
    with hooks(own), silence(model, layout, keep):
        found["output"] = {"in": model(x)}
    return found


def check(model, layout, k, readers, shape, keep=None, loss="l1"):
    """The contributions of group k against the silenced network; ``readers`` are (module, "in" or "out")."""
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1)).double()
    masked_run = MaskedRun(Network(model, layout.shape, layout.wrap), layout, keep).over(x)
    kept, own = np.ones(layout.n, bool) if keep is None else keep, layout.layer_of == k
    found = contributions(masked_run, layout.groups[k], 10**6, loss, np.random.default_rng(0))
    dense = seen(model, layout, kept, x)

    def read(mask):
        whole = seen(model, layout, np.where(own, mask, kept), x, fixed=dense)
        return [whole[name][side].flatten().numpy() for name, side in readers]

    now, without = read(kept), read(np.zeros(layout.n, bool))
    sizes = [np.abs(a - b).mean() if loss == "l1" else np.sqrt(np.square(a - b).mean()) for a, b in zip(now, without, strict=True)]
    sizes = [size or 1.0 for size in sizes]
    assert found.columns.shape == (sum(len(part) for part in now), int(own.sum()))
    assert np.allclose(found.wanted, np.concatenate([a / size for a, size in zip(now, sizes, strict=True)]), atol=1e-8)
    for seed in range(3):
        mask = np.random.default_rng(seed).random(layout.n) < 0.5
        expected = np.concatenate([a / size for a, size in zip(read(mask), sizes, strict=True)])
        assert np.allclose(found.base + found.columns @ mask[own], expected, atol=1e-8)


def traced(model, shape, granularity="filter"):
    model = lively(model).double()
    return model, trace(model, torch.zeros(1, *shape).double(), granularity)


class Residual(nn.Module):
    """A ReLU behind a sum, so that nothing linear reads the sum's operands."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 1, 3)
        self.act, self.behind, self.norm = nn.ReLU(), nn.ReLU(), nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.act(self.first(x))
        return self.third(self.behind(x + self.norm(self.second(x))))


class Joined(nn.Module):
    """Concatenation, of maps of two sizes."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(5, 1, 3, padding=1)
        self.act, self.again = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        a = self.act(self.first(x))
        b = self.again(self.second(F.max_pool2d(a, 2)))
        up = F.interpolate(b, scale_factor=2, mode="bilinear", align_corners=False)
        return self.last(torch.cat([a, up], dim=1))


def masks(layout):
    return (None, np.arange(layout.n) % 3 > 0)


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_chain_with_max_pooling_before_the_reader(loss):
    layers = (
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 2),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(3, 1, 1),
    )
    model, layout = traced(nn.Sequential(*layers), (1, 8, 8))
    for keep in masks(layout):
        check(model, layout, 0, [("3", "out")], (1, 8, 8), keep, loss)
        check(model, layout, 1, [("7", "out")], (1, 8, 8), keep, loss)


def test_flatten_and_linear():
    layers = (nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 3))
    model, layout = traced(nn.Sequential(*layers), (1, 8, 8))
    for keep in masks(layout):
        check(model, layout, 0, [("5", "out")], (1, 8, 8), keep)
        check(model, layout, 1, [("7", "out")], (1, 8, 8), keep)


def test_residual_with_a_relu_behind_the_sum_is_read_at_the_sum():
    model, layout = traced(Residual(), (1, 6, 6))
    for keep in masks(layout):
        check(model, layout, 0, [("second", "out"), ("behind", "in")], (1, 6, 6), keep)
        check(model, layout, 1, [("behind", "in")], (1, 6, 6), keep)


def test_concatenation_and_interpolation():
    model, layout = traced(Joined(), (1, 6, 6))
    for keep in masks(layout):
        check(model, layout, 0, [("second", "out"), ("last", "out")], (1, 6, 6), keep)
        check(model, layout, 1, [("last", "out")], (1, 6, 6), keep)


def test_every_layer_of_a_half_unet(small_model):
    model = small_model.double()
    try:
        layout = trace(model)
        x = torch.rand(2, *layout.shape[1:3], 32, generator=torch.Generator().manual_seed(1)).double()[:, :, :32]
        network = Network(model, layout.shape, layout.wrap)
        masked_run = MaskedRun(network, layout, None).over(x)
        everything = np.ones(layout.n, bool)
        dense = seen(model, layout, everything, x)
        for k, group in enumerate(layout.groups):
            found = contributions(masked_run, group, 10**7, "l1", np.random.default_rng(0))
            _, readers = readers_of(network, group)
            own = layout.layer_of == k
            mask = everything & ~(own & (np.random.default_rng(k).random(layout.n) < 0.5))
            run = seen(model, layout, mask, x, fixed=dense)
            gone = seen(model, layout, ~own, x, fixed=dense)
            start = 0
            for operation in readers:
                assert operation.name, "every reader of this network is a layer"
                now, after, without = (one[operation.name]["out"].flatten().numpy() for one in (dense, run, gone))
                part = slice(start, start + len(now))
                start += len(now)
                size = np.abs(now - without).mean()
                assert np.allclose((found.base + found.columns @ mask[own])[part], after / size, atol=1e-7)
                assert np.allclose(found.wanted[part], now / size, atol=1e-7)
            assert start == len(found.wanted)
    finally:
        small_model.float()


def test_coupled_filters_go_together():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(1, 3, 3), nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 1)
            self.act, self.last = nn.ReLU(), nn.Conv2d(2, 1, 1)

        def forward(self, x):
            return self.last(self.act(self.c(self.a(x) - self.b(x))))

    model, layout = traced(Sum(), (1, 5, 5), "group")
    assert [len(group.members) for group in layout.groups] == [2, 1]
    for keep in masks(layout):
        check(model, layout, 0, [("c", "out")], (1, 5, 5), keep)


def test_activation_that_is_not_affine_is_read_at_what_it_reads():
    model, layout = traced(nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.AvgPool2d(2), nn.GELU(), nn.Conv2d(3, 1, 1)), (1, 6, 6))
    name = layout.groups[0].gate
    network = Network(model, layout.shape, layout.wrap)
    _, readers = readers_of(network, layout.groups[0])
    if name == "3":  # the gate lies behind the GELU
        assert [operation.name for operation in readers] == ["4"]
        check(model, layout, 0, [("4", "out")], (1, 6, 6))
    else:
        check(model, layout, 0, [("3", "in")], (1, 6, 6))


def test_outputs_are_drawn_where_there_are_too_many_and_repeatably():
    model, layout = traced(Joined(), (1, 6, 6))
    x = torch.rand(3, 1, 6, 6).double()
    masked_run = MaskedRun(Network(model, layout.shape, layout.wrap), layout, None).over(x)
    first, again, other = (contributions(masked_run, layout.groups[0], 20, "l1", np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert len(first.wanted) == 20 and np.array_equal(first.columns, again.columns) and not np.array_equal(first.columns, other.columns)


def test_mean_size_of_what_all_filters_add_is_one():
    model, layout = traced(Joined(), (1, 6, 6))
    masked_run = MaskedRun(Network(model, layout.shape, layout.wrap), layout, None).over(torch.rand(3, 1, 6, 6).double())
    for loss, size in (("l1", lambda v: np.abs(v).mean()), ("l2", lambda v: np.sqrt(np.square(v).mean()))):
        found = contributions(masked_run, layout.groups[1], 10**6, loss, np.random.default_rng(0))
        assert size(found.columns.sum(axis=1)) == pytest.approx(1) and size(found.wanted - found.base) == pytest.approx(1)


def test_filter_that_is_dead_adds_nothing_and_breaks_nothing():
    model, layout = traced(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 1, 1)), (1, 6, 6))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.fill_(-1)
    masked_run = MaskedRun(Network(model, layout.shape, layout.wrap), layout, None).over(torch.rand(2, 1, 6, 6).double())
    found = contributions(masked_run, layout.groups[0], 10**6, "l2", np.random.default_rng(0))
    assert (found.columns == 0).all() and np.isfinite(found.wanted).all()


def test_logits_are_contributions_of_the_last_layer_alone():
    layers = (nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    model, layout = traced(nn.Sequential(*layers), (4,))
    x, labels = torch.rand(6, 4).double(), np.array([0, 1, 2, 0, 1, 2])
    for keep in masks(layout):
        kept = np.ones(layout.n, bool) if keep is None else keep
        masked_run = MaskedRun(Network(model, layout.shape, layout.wrap), layout, keep).over(x)
        assert logit_contributions(masked_run, layout.groups[0], labels) is None
        found = logit_contributions(masked_run, layout.groups[1], labels)
        assert np.array_equal(found.wanted, labels)
        for seed in range(3):
            mask = kept.copy()
            mask[5:] = np.random.default_rng(seed).random(4) < 0.5
            with torch.no_grad(), silence(model, layout, mask):
                expected = model(x).flatten().numpy()
            assert np.allclose(found.base + found.columns @ mask[5:], expected, atol=1e-10)
