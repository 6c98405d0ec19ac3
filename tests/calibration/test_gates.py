import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.calibration.gates import gate_statistics
from qprune_cli.calibration.gram_factor import GramFactor
from qprune_cli.calibration.loss import LOSSES
from qprune_cli.calibration.redundancy import SCALES, SIMILARITIES, cosine, redundancy_pairs
from qprune_cli.errors import UserError
from qprune_cli.graph.trace import trace
from qprune_cli.types import FilterGroup, ImageSet, Layout, Pair

PICTURES = sorted(set(LOSSES) - {"cross_entropy"})


class InPlace(nn.Module):
    """Changes its input, and what comes from a gate, in place."""

    def __init__(self):
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 3, 1)
        self.skip = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        x -= 0.1
        y = self.act(self.conv(x))
        y += self.skip(x)
        return self.head(y)


def plain():
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))


def classifier():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3))


def double(model, granularity="filter"):
    torch.manual_seed(0)
    model = model().double().eval()
    return model, trace(model, granularity=granularity)


def pictures(count=3, side=12):
    rng = np.random.default_rng(0)
    return ImageSet(tuple(Pair(str(k), rng.uniform(size=(3, side, side)), rng.uniform(size=(3, side, side))) for k in range(count)))


def labelled(count=3):
    return ImageSet(tuple(Pair(pair.name, pair.input, np.array(k % 3)) for k, pair in enumerate(pictures(count).pairs)))


def losses(model, layout, noisy, clean, loss, gates):
    """(N,) losses with gates (n,) on the outputs."""
    hooks = []
    for group, part in zip(layout.groups, torch.split(gates, [group.channels for group in layout.groups]), strict=True):
        for member in group.members:
            factor = torch.ones(member.width, dtype=gates.dtype).index_put((torch.tensor(member.filters),), part)

            def scale(module, inputs, output, factor=factor):
                return output * factor.view(1, -1, *[1] * (output.dim() - 2))

            hooks.append(model.get_submodule(member.gate).register_forward_hook(scale))
    try:
        return LOSSES[loss](model(noisy.clone()), clean)
    finally:
        for hook in hooks:
            hook.remove()


def slopes(model, layout, images, loss, keep):
    """(N, n) V by central differences."""
    gates, step = torch.from_numpy(keep.astype(np.float64)), 1e-6
    noisy, clean = tensors(images)
    with torch.no_grad():
        rises = [
            losses(model, layout, noisy, clean, loss, gates + one) - losses(model, layout, noisy, clean, loss, gates - one)
            for one in torch.eye(layout.n, dtype=torch.float64) * step
        ]
    return torch.stack(rises, dim=1).numpy() / (2 * step)


def tensors(images):
    return [torch.from_numpy(part) for part in next(images.batches(len(images)))]


CASES = [
    *[(plain, "filter", pictures, loss) for loss in PICTURES],
    (classifier, "filter", labelled, "cross_entropy"),
    (InPlace, "filter", pictures, "mse"),
    (InPlace, "group", pictures, "mse"),
]


@pytest.mark.parametrize("masked", [False, True], ids=["dense", "masked"])
@pytest.mark.parametrize(("network", "granularity", "data", "loss"), CASES)
def test_gate_gradients_equal_finite_differences_at_any_mask(network, granularity, data, loss, masked):
    model, layout = double(network, granularity)
    keep = np.arange(layout.n) % 3 > 0 if masked else np.ones(layout.n, bool)
    expected = slopes(model, layout, data(), loss, keep)
    seen = gate_statistics(model, layout, data(), loss, batch=2, keep=keep if masked else None)
    close = {"rtol": 1e-5, "atol": 1e-8}
    assert (seen.images == 3 and not masked) or np.abs(expected[:, ~keep]).max() > 0
    assert np.allclose(seen.mean, expected.mean(axis=0), **close)
    assert np.allclose(seen.mean_abs, np.abs(expected).mean(axis=0), **close)
    assert np.allclose(seen.mean_square, np.square(expected).mean(axis=0), **close)
    assert np.allclose(seen.factor.T @ seen.factor, expected.T @ expected / 3, **close)
    for half, own in zip(seen.halves, (expected[::2], expected[1::2]), strict=True):
        assert np.allclose(half.T @ half, own.T @ own / len(own), **close)


@pytest.mark.parametrize("granularity", ["filter", "group"])
def test_gate_gradients_equal_those_of_a_functional_gate(granularity):
    depthwise = (nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 3, 1))
    model, layout = double(lambda: nn.Sequential(*depthwise), granularity)
    keep = np.arange(layout.n) % 3 > 0

    def loss(gates, noisy, clean):
        return losses(model, layout, noisy[None], clean[None], "psnr", gates)[0]

    slope = torch.func.vmap(torch.func.jacrev(loss), in_dims=(None, 0, 0))
    expected = slope(torch.from_numpy(keep.astype(np.float64)), *tensors(pictures())).detach().numpy()
    seen = gate_statistics(model, layout, pictures(), "psnr", batch=2, keep=keep)
    assert np.allclose(seen.factor.T @ seen.factor, expected.T @ expected / 3) and np.allclose(seen.mean, expected.mean(axis=0))


def test_statistics_do_not_depend_on_the_batch(small_model, small_layout, small_splits):
    one, many = (gate_statistics(small_model, small_layout, small_splits.calibration, "psnr", batch) for batch in (1, 4))
    assert np.allclose(one.mean_square, many.mean_square, rtol=1e-3, atol=1e-6)
    assert np.allclose(one.factor.T @ one.factor, many.factor.T @ many.factor, rtol=1e-3, atol=1e-6)
    for a, b in zip(one.activations, many.activations, strict=True):
        assert np.allclose(a.products, b.products, rtol=1e-4) and np.allclose(a.sums, b.sums, rtol=1e-4)
        assert np.array_equal(a.positions, b.positions)
    assert np.array_equal(one.dead, many.dead)


def test_a_pass_leaves_what_needs_a_gradient_as_it_was():
    model, layout = double(plain)
    model[0].weight.requires_grad_(False)
    gate_statistics(model, layout, pictures(), "mse", 2)
    assert [weight.requires_grad for weight in model.parameters()] == [False, *[True] * 5]
    assert all(weight.grad is None for weight in model.parameters())


def stored(model, layout, images):
    """Per group (members, channels, images * positions) activations."""
    seen = {}
    gates = {member.gate for group in layout.groups for member in group.members}
    hooks = [
        model.get_submodule(gate).register_forward_hook(lambda m, i, o, gate=gate: seen.__setitem__(gate, o.clone())) for gate in gates
    ]
    with torch.no_grad():
        model(tensors(images)[0].clone())
    for hook in hooks:
        hook.remove()
    return [
        np.stack([seen[m.gate][:, list(m.filters)].transpose(0, 1).flatten(1).double().numpy() for m in group.members])
        for group in layout.groups
    ]


@pytest.mark.parametrize(("network", "granularity"), [(plain, "filter"), (InPlace, "group")])
def test_similarities_are_those_of_the_stored_activations(network, granularity):
    model, layout = double(network, granularity)
    seen = gate_statistics(model, layout, pictures(), "psnr", 2)
    for maps, one in zip(stored(model, layout, pictures()), seen.activations, strict=True):
        flat = np.concatenate(maps, axis=1)
        centred = np.concatenate([member - member.mean(axis=1, keepdims=True) for member in maps], axis=1)
        assert np.allclose(one.products, flat @ flat.T) and np.allclose(one.sums, maps.sum(axis=2))
        assert np.allclose(SIMILARITIES["cosine"](one), cosine(flat @ flat.T))
        assert np.allclose(SIMILARITIES["squared"](one), cosine(flat @ flat.T) ** 2)
        assert np.allclose(SIMILARITIES["centred"](one), cosine(centred @ centred.T))


def test_a_filter_that_never_fires_is_dead():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1))
    with torch.no_grad():
        model[0].weight.fill_(1)
        model[0].bias.copy_(torch.tensor([-10.0, 1.0]))
    picture = np.full((1, 4, 4), 0.5, np.float32)
    seen = gate_statistics(model, trace(model), ImageSet((Pair("a", picture, picture),)), "mse", 1)
    assert seen.dead.tolist() == [True, False]
    assert not SIMILARITIES["centred"](seen.activations[0]).any()  # one is dead, the other constant


@pytest.mark.parametrize(("loss", "data"), [("cross_entropy", pictures), ("psnr", labelled)])
def test_a_loss_that_does_not_fit_the_data_is_refused(loss, data):
    model, layout = double(plain)
    with pytest.raises(UserError, match=f"loss={loss}"):
        gate_statistics(model, layout, data(), loss, 2)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_a_loss_that_is_not_finite_is_refused(loss):
    model, layout = double(classifier if loss == "cross_entropy" else plain)
    with torch.no_grad():
        model[0].bias[0] = np.nan
    with pytest.raises(UserError, match=f"loss={loss}: not finite"):
        gate_statistics(model, layout, labelled() if loss == "cross_entropy" else pictures(), loss, 2)


def test_a_factor_stays_small_and_is_exact_where_rows_are_of_low_rank():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(100, 5)) @ rng.normal(size=(5, 30))
    factor = GramFactor(30, cap=8)
    for part in np.array_split(rows, 23):
        factor.add(part)
        assert len(factor.stored) < 24
    assert len(factor.rows()) == 8
    assert np.allclose(factor.rows().T @ factor.rows(), rows.T @ rows)


def test_cosine_is_that_of_the_vectors_and_0_with_a_dead_one():
    vectors = np.random.default_rng(0).normal(size=(4, 9))
    vectors[2] = 0
    found = cosine(vectors @ vectors.T)
    assert np.isclose(found[0, 1], vectors[0] @ vectors[1] / np.linalg.norm(vectors[0]) / np.linalg.norm(vectors[1]))
    assert not found[2].any()


@pytest.mark.parametrize("scale", SCALES)
def test_pairs_at_beta_1_add_the_mean_worth_to_a_marginal_when_half_the_layer_is_gone(scale):
    layout = Layout((FilterGroup("a", "a", 6), FilterGroup("b", "b", 8)))
    rng = np.random.default_rng(0)
    similar = [(lambda v: cosine(v @ v.T))(rng.uniform(size=(group.channels, 20))) for group in layout.groups]
    worth = rng.uniform(size=layout.n)
    pairs = redundancy_pairs(layout, similar, worth, beta=1.0, scale=scale)
    expected = layout.split(0.5 * pairs.sums(layout.n)[1])
    for name, own in layout.split(worth).items():
        assert np.isclose(expected[name].mean(), own.mean())
    assert redundancy_pairs(layout, similar, worth, beta=0.0, scale=scale).empty
