import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from qprune_cli.errors import UserError
from qprune_cli.graph.masks import at_gates, per_layer
from qprune_cli.graph.rules.layer import LAYERS
from qprune_cli.scorer.reconstruction import Reconstruction
from qprune_cli.types import Splits
from tests.calibration.test_gates import InPlace, classifier, double, labelled, pictures, plain, tensors
from tests.scorer.conftest import three_filters


class Branches(nn.Module):
    """Up-sampling, a concatenation, a sum and a transposed convolution on the way to the readers."""

    def __init__(self):
        super().__init__()
        self.first, self.down = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 2, stride=2)
        self.up, self.side = nn.ConvTranspose2d(3, 3, 2, stride=2), nn.Conv2d(3, 3, 1)
        self.act, self.late, self.head = nn.ReLU(inplace=True), nn.ReLU(), nn.Conv2d(9, 3, 1)

    def forward(self, x):
        y = self.act(self.first(x))
        z = self.late(self.down(y))
        w = self.up(z) + self.side(y)
        return x + self.head(torch.cat([y, F.interpolate(z, scale_factor=2), w], dim=1))


def outputs_with(model, noisy, replaced):
    """(name, output) of all layers and of the network, with some gates' outputs replaced."""
    found, hooks = [], []
    for name, module in model.named_modules():
        if isinstance(module, LAYERS):
            hooks.append(module.register_forward_hook(lambda m, i, o, name=name: found.append((name, o.clone()))))
    for gate, value in replaced.items():
        hooks.append(model.get_submodule(gate).register_forward_hook(lambda m, i, o, value=value: value.clone()))
    with torch.no_grad():
        found.append(("", model(noisy.clone())))
    for hook in hooks:
        hook.remove()
    return found


def by_hand(model, layout, images, keep, ridge):
    """(n,) errors: residuals by stored activations, their effect on every reader by a finite difference."""
    noisy = tensors(images)[0]
    masks, filters = at_gates(layout, keep), per_layer(layout, keep)
    gates = {member.gate: member.layer for group in layout.groups for member in group.members}
    opened, hooks = {}, []
    for gate in gates:

        def watch(module, inputs, output, gate=gate):
            opened[gate] = output.clone()
            dropped = torch.from_numpy(np.flatnonzero(~masks[gate])) if gate in masks else torch.empty(0, dtype=torch.long)
            return output.index_fill(1, dropped, 0.0)

        hooks.append(model.get_submodule(gate).register_forward_hook(watch))
    with torch.no_grad():
        model(noisy.clone())
    for hook in hooks:
        hook.remove()
    masked = {gate: value * torch.from_numpy(filters[gates[gate]]).view(1, -1, *[1] * (value.dim() - 2)) for gate, value in opened.items()}
    base, step, scores = outputs_with(model, noisy, masked), 1e-4, []
    for group in layout.groups:
        for k in range(group.channels):
            changed = dict(masked)
            for member in group.members:
                i = member.filters[k]
                maps = opened[member.gate].transpose(0, 1).flatten(1).numpy()
                live = filters[member.layer] & (np.square(maps).sum(axis=1) > 0)
                used = live & (np.arange(len(maps)) != i)
                mean = np.square(maps[live]).sum(axis=1).mean()
                inner = maps[used] @ maps[used].T + ridge * mean * np.eye(used.sum())
                left = maps[i] - np.linalg.solve(inner, maps[used] @ maps[i]) @ maps[used]
                delta = torch.zeros_like(changed[member.gate]).transpose(0, 1).clone()
                delta[i] = torch.from_numpy(left).view(delta[i].shape)
                changed[member.gate] = changed[member.gate] + step * delta.transpose(0, 1)
            total = 0.0
            for (name, before), (_, after) in zip(base, outputs_with(model, noisy, changed), strict=True):
                own = torch.from_numpy(filters[name]) if name in filters else torch.ones(before.shape[1], dtype=torch.bool)
                energy = before[:, own].flatten(1).square().sum(dim=1)
                rise = ((after - before)[:, own] / step).flatten(1).square().sum(dim=1)
                total += float((rise / energy).mean()) if own.any() else 0.0
            scores.append(total)
    return np.array(scores)


@pytest.mark.parametrize("masked", [False, True], ids=["dense", "masked"])
@pytest.mark.parametrize(
    ("network", "granularity"), [(plain, "filter"), (Branches, "filter"), (Branches, "group"), (InPlace, "group"), (classifier, "filter")]
)
def test_score_is_the_share_of_energy_that_the_readers_miss(network, granularity, masked):
    model, layout = double(network, granularity)
    images = labelled(3) if network is classifier else pictures(3, side=6)
    keep = np.arange(layout.n) % 3 > 0 if masked else np.ones(layout.n, bool)
    scores = Reconstruction(probes=200, ridge=1e-2, batch=3).score(model, layout, Splits(None, images, images, images), 0, keep)
    live = ~scores.dead
    assert live.sum() > layout.n / 2
    assert np.allclose(scores.linear[live], by_hand(model, layout, images, keep, 1e-2)[live], rtol=0.25)


def test_a_filter_that_another_can_stand_in_for_is_worth_nothing():
    model, layout, splits = three_filters()
    linear = Reconstruction(ridge=1e-6).score(model, layout, splits, 0).linear  # 0.5 and 1 times the same picture
    assert np.all(np.abs(linear) < 1e-3)
    alone = Reconstruction(ridge=1e-6).score(model, layout, splits, 0, np.array([True, False, True]))
    # the output is the first filter alone: it misses all of it without, and 0 beyond what the first gives of the second
    assert np.isclose(alone.linear[0], 2.0) and alone.linear[1] < 1e-3 and alone.dead.tolist() == [False, False, True]


def test_the_signs_follow_the_seed():
    model, layout = double(plain)
    images = pictures()
    first, same, other = (Reconstruction().score(model, layout, Splits(None, images, images, images), seed).linear for seed in (0, 0, 1))
    assert np.array_equal(first, same) and not np.array_equal(first, other)


@pytest.mark.parametrize("settings", [{"ridge": 0.0}, {"probes": 0}, {"batch": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        Reconstruction(**settings)
