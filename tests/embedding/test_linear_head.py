"""Heads in closed form, against differences, scikit-learn and the network."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from qprune_cli.embedding.linear_head import RIDGE, pooled, pooled_gates, probe_contributions, tangent_contributions, tangents
from qprune_cli.embedding.masked_run import MaskedRun
from qprune_cli.graph.network import Network
from qprune_cli.graph.trace import trace
from tests.blobs import blobs, taught


@pytest.fixture(scope="module")
def classifier():
    model = taught(convolutions=True, steps=20).double()
    model.zero_grad()
    return model, trace(model, torch.zeros(1, 1, 8, 8).double()), blobs(6, 0)


@torch.no_grad()
def logits_at(model, layout, gates, x):
    """The logits with every gate at a number of its own."""
    handles, start = [], 0
    for group in layout.groups:
        own = torch.from_numpy(gates[start : start + group.channels])
        start += group.channels

        def scale(module, inputs, output, own=own):
            return output * own.reshape(1, -1, *[1] * (output.dim() - 2))

        handles.append(model.get_submodule(group.gate).register_forward_hook(scale))
    try:
        return model(x).numpy()
    finally:
        for handle in handles:
            handle.remove()


def inputs(images):
    return torch.from_numpy(np.stack([pair.input for pair in images.pairs])).double()


@pytest.mark.parametrize("masked", [False, True])
def test_tangents_equal_central_differences(classifier, masked):
    model, layout, images = classifier
    keep = np.arange(layout.n) % 4 > 0 if masked else None
    at = np.ones(layout.n) if keep is None else keep.astype(float)
    slopes, logits = tangents(model, layout, images, keep)
    assert slopes.shape == (6, 3, layout.n) and np.allclose(logits, logits_at(model, layout, at, inputs(images)), atol=1e-6)
    step = 1e-5
    for i in range(0, layout.n, 3):
        high, low = (logits_at(model, layout, at + sign * step * np.eye(layout.n)[i], inputs(images)) for sign in (1, -1))
        assert np.allclose(slopes[:, :, i], (high - low) / (2 * step), atol=1e-4)


def test_tangent_contributions_are_the_network_to_first_order(classifier):
    model, layout, images = classifier
    labels = np.array([int(pair.target) for pair in images.pairs])
    for keep in (None, np.arange(layout.n) % 4 > 0):
        kept = np.ones(layout.n, bool) if keep is None else keep
        slopes, logits = tangents(model, layout, images, keep)
        found = list(tangent_contributions(layout, slopes, logits, labels, keep))
        for k, one in enumerate(found):
            own = layout.layer_of == k
            assert np.allclose(one.base + one.columns @ kept[own], logits.ravel()) and np.array_equal(one.wanted, labels)
            moved = kept.astype(float)
            moved[own] += 1e-4 * np.random.default_rng(k).normal(size=own.sum())
            expected = logits_at(model, layout, moved, inputs(images)).ravel()
            assert np.allclose(one.base + one.columns @ moved[own], expected, atol=1e-6)


def test_tangent_of_the_last_hidden_layer_is_exact(classifier):
    model, layout, images = classifier
    slopes, logits = tangents(model, layout, images, None)
    last = list(tangent_contributions(layout, slopes, logits, np.zeros(6, int), None))[-1]
    gates = np.ones(layout.n)
    own = layout.layer_of == len(layout.groups) - 1
    gates[own] = np.random.default_rng(0).random(own.sum())
    assert np.allclose(last.base + last.columns @ gates[own], logits_at(model, layout, gates, inputs(images)).ravel(), atol=1e-6)


@pytest.mark.parametrize("cells", [1, 4])
def test_probe_is_the_ridge_of_scikit_learn(cells):
    rng = np.random.default_rng(0)
    fitted, shown = rng.normal(size=(40, 5, cells)) + 1, rng.normal(size=(7, 5, cells))
    known, labels = rng.integers(0, 3, 40), rng.integers(0, 3, 7)
    found = probe_contributions(fitted, known, shown, labels, 3)
    features = fitted.reshape(40, -1)
    alpha = RIDGE * np.square(features - features.mean(axis=0)).sum() / features.shape[1]
    ridge = Ridge(alpha=alpha).fit(features, 2.0 * (known[:, None] == np.arange(3)) - 1)
    assert found.columns.shape == (21, 5) and np.array_equal(found.wanted, labels)
    assert np.allclose((found.base + found.columns.sum(axis=1)).reshape(7, 3), ridge.predict(shown.reshape(7, -1)))
    scores = rng.random(5)
    scaled = (shown * scores[None, :, None]).reshape(7, -1)
    assert np.allclose((found.base + found.columns @ scores).reshape(7, 3), ridge.predict(scaled))


def test_probe_of_features_that_are_all_zero_is_finite():
    found = probe_contributions(np.zeros((10, 3, 1)), np.arange(10) % 2, np.zeros((2, 3, 1)), np.array([0, 1]), 2)
    assert (found.columns == 0).all() and np.allclose(found.base, 0)


def test_pooled_maps_are_means_of_their_quarters():
    value = torch.arange(32.0).reshape(1, 2, 4, 4)
    wanted = value.reshape(1, 2, 2, 2, 2, 2).mean(dim=(3, 5)).flatten(2)
    assert torch.equal(pooled(value), wanted)
    assert pooled(torch.ones(3, 5)).shape == (3, 5, 1) and pooled(torch.ones(3, 5, 1, 1)).shape == (3, 5, 1)


def test_features_of_a_group_are_those_before_the_mask(classifier):
    model, layout, images = classifier
    network = Network(model, layout.shape, layout.wrap)
    keep = np.arange(layout.n) % 4 > 0
    masked, whole = (pooled_gates(MaskedRun(network, layout, mask).over(inputs(images)), layout.groups[0]) for mask in (keep, None))
    assert masked.shape == (6, 6, 4) and np.array_equal(masked, whole)


def test_tangents_leave_the_network_alone(classifier):
    model, layout, images = classifier
    tangents(model, layout, images, None)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules()) and not model.training
