import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.compensate.none import NoCompensation
from qprune_cli.compensate.ridge import Ridge
from qprune_cli.data.sample import Sample
from qprune_cli.evaluate.masked import silenced_merit
from qprune_cli.evaluate.restoration import Restoration
from qprune_cli.graph.network import Network
from qprune_cli.graph.trace import trace
from qprune_cli.model.dncnn import DnCNNNetwork
from qprune_cli.regression import choice
from qprune_cli.regression.equations import rows_of
from qprune_cli.regression.linear_map import matrix_of
from qprune_cli.regression.objective import compensated_metric
from qprune_cli.regression.refit import Refit
from qprune_cli.replay.gated import GatedNetwork
from qprune_cli.replay.metric import MaskMetric
from qprune_cli.replay.replay import Replay
from qprune_cli.search.moves import swapped
from qprune_cli.surgery.silence import silence
from scripts.objectives import planned
from tests.compensate.test_ridge import splits_of


@pytest.fixture(scope="module")
def trained():
    dense = planned("model=half_unet_small").model.load()
    return dense, trace(dense), Sample(crops=8, crop_size=48, block_size=64).load(seed=0)


def half(layout, seed, share=0.5, count=4):
    rng = np.random.default_rng(seed)
    near = rng.permutation(layout.n) < share * layout.n
    pairs = zip(*(rng.choice(np.flatnonzero(near == kept), count).tolist() for kept in (True, False)), strict=True)
    keep = np.stack([swapped(near, [pair]) for pair in pairs])
    return near, keep


def test_at_the_start_it_is_the_psnr_of_the_fitted_network(trained):
    dense, layout, splits = trained
    near, _ = half(layout, 0)
    metric = compensated_metric(Ridge(2000), dense, layout, near, splits, 0)
    fitted = Ridge(2000).fit(dense, layout, near, splits, 0)[0]
    found = metric.measure(near[None], np.arange(metric.images), near)
    assert abs(found.mean() - silenced_merit(Restoration(), fitted, layout, near, splits.refinement)) < 1e-4
    assert found.mean() > silenced_merit(Restoration(), dense, layout, near, splits.refinement) + 0.1


def test_a_swap_comes_nearer_to_a_full_fit_than_the_weights_of_the_start(trained):
    dense, layout, splits = trained
    errors = []
    for seed in range(2):
        near, keep = half(layout, seed)
        keep = keep[:2]
        metric = compensated_metric(Ridge(2000), dense, layout, near, splits, 0)
        images = np.arange(metric.images)
        again, plain = (
            m.measure(keep, images, near).mean(axis=1) for m in (metric, MaskMetric(Restoration(), metric.model, layout, splits.refinement))
        )
        full = [Ridge(2000).fit(dense, layout, mask, splits, 0)[1]["refinement_psnr"]["after"] for mask in keep]
        errors.append((np.abs(again - full).mean(), np.abs(plain - full).mean()))
    ours, theirs = np.mean(errors, axis=0)
    assert ours < 0.5 * theirs


def test_without_compensation_it_is_the_silenced_network(trained):
    dense, layout, splits = trained
    near, keep = half(layout, 0)
    metric = compensated_metric(NoCompensation(), dense, layout, near, splits, 0)
    true = [silenced_merit(Restoration(), dense, layout, mask, splits.refinement) for mask in keep]
    assert np.abs(metric.measure(keep, np.arange(metric.images), near).mean(axis=1) - true).max() < 1e-4


def test_a_change_of_one_filter_is_read_by_its_consumers_alone(trained):
    dense, layout, splits = trained
    x = torch.from_numpy(splits.calibration.pairs[0].input[None])
    replay = Replay(GatedNetwork.of_dense(dense, layout), np.ones(layout.n, bool), x)
    first = np.arange(layout.n) != np.flatnonzero(~replay.dead())[0]
    assert {str(node.target) for node in replay.changed_inputs(first)} <= set(layout.groups[0].consumers)


def test_re_fitted_normal_equations_are_those_of_the_changed_rows(trained):
    dense, layout, splits = trained
    near, keep = half(layout, 0)
    refit = compensated_metric(Ridge(2000), dense, layout, near, splits, 0).refit
    for node, changed in refit.replay.changed_inputs(keep[0]).items():
        if node not in refit.equations:
            continue
        layer = refit.equations[node]
        (source,) = node.all_input_nodes
        rows = rows_of(layer.module, changed.onto(refit.replay.values[source]), layer.positions).double()
        found = layer.changed_moments(changed)
        assert torch.allclose(found.inner[0], rows.mT @ rows) and torch.allclose(found.cross[0], rows.mT @ layer.targets.double())


# No strengths leave the weights as they are; a large one moves them a little, and norms gain from being recalibrated all the same.
NORMED = pytest.mark.parametrize("strengths", [(), (1000.0,)], ids=["norms alone", "weights as well"])


def normed(seed, bias=False):
    """A network whose layers all add up much of the same: what a lost filter costs most is the mean, so norms are recalibrated."""
    torch.manual_seed(seed)
    model = DnCNNNetwork(3, 8, 4, batchnorm=True)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data += 0.5 * module.weight.data.abs().mean()
            if bias and module.bias is None:
                module.bias = nn.Parameter(0.1 * torch.randn(8))
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
    for _ in range(30):
        model(0.3 + 0.4 * torch.rand(8, 3, 24, 24))
    return model.eval(), trace(model, torch.zeros(1, 3, 24, 24))


def without_norms(refit):
    """The weights of a re-fit whose norms stay."""
    return lambda keep: {
        str(node.target): replace(refit.equations[node], norm=None).weights(changed)
        for node, changed in refit.replay.changed_inputs(keep).items()
        if node in refit.equations
    }


@NORMED
def test_at_the_start_norms_are_those_of_the_fitted_network(monkeypatch, strengths):
    monkeypatch.setattr(choice, "STRENGTHS", strengths)
    dense, layout = normed(0)
    splits, (near, _) = splits_of(dense), half(layout, 0, 0.75, 6)
    metric = compensated_metric(Ridge(batchnorm=True), dense, layout, near, splits, 0)
    fitted, notes = Ridge(batchnorm=True).fit(dense, layout, near, splits, 0)
    assert {row["layer"] for row in notes["layers"] if row["chosen"] == "recalibrated"} == {"body.3", "body.6"}
    found = metric.measure(near[None], np.arange(metric.images), near).mean()
    assert abs(found - silenced_merit(Restoration(), fitted, layout, near, splits.refinement)) < 1e-4
    assert found > silenced_merit(Restoration(), dense, layout, near, splits.refinement) + 0.1


@NORMED
def test_norms_that_are_recalibrated_bring_a_swap_nearer_to_a_full_fit(monkeypatch, strengths):
    monkeypatch.setattr(choice, "STRENGTHS", strengths)
    errors = []
    for seed in range(2):
        dense, layout = normed(seed)
        splits, (near, keep) = splits_of(dense), half(layout, seed, 0.75, 3)
        metric = compensated_metric(Ridge(500, batchnorm=True), dense, layout, near, splits, 0)
        images = np.arange(metric.images)
        stays = MaskMetric(Restoration(), metric.model, layout, splits.refinement, refit=without_norms(metric.refit))
        again, plain = (m.measure(keep, images, near).mean(axis=1) for m in (metric, stays))
        fits = [Ridge(500, batchnorm=True).fit(dense, layout, mask, splits, 0)[0] for mask in keep]
        full = [silenced_merit(Restoration(), fitted, layout, mask, splits.refinement) for fitted, mask in zip(fits, keep, strict=True)]
        errors.append((np.abs(again - full).mean(), np.abs(plain - full).mean()))
    ours, theirs = np.mean(errors, axis=0)
    assert ours < 0.2 * theirs


@pytest.mark.parametrize("strengths", [{}, {"body.2": 0.01, "body.5": 0.01, "body.8": 0.01}], ids=["norms alone", "weights as well"])
@pytest.mark.parametrize("bias", [False, True])
def test_weights_that_recalibrate_do_what_other_statistics_do(monkeypatch, strengths, bias):
    monkeypatch.setattr(choice, "STRENGTHS", ())
    dense, layout = normed(0, bias)
    splits, (near, keep) = splits_of(dense), half(layout, 0, 0.75, 6)
    fitted = Ridge(2000, batchnorm=True).fit(dense, layout, near, splits, 0)[0]
    refit = Refit(dense, fitted, layout, near, splits.calibration, strengths, {"body.3", "body.6"}, 0)
    x = torch.from_numpy(splits.test.pairs[0].input[None])
    for mask in keep:
        small = Replay(GatedNetwork.of_mask(Network(fitted, layout.shape, layout.wrap), layout, near | mask), near, x)
        model = with_statistics(refit, fitted, mask)
        norms = {"body.2", "body.5"} & set(refit(mask))
        with torch.no_grad(), silence(model, layout, mask):
            assert torch.allclose(small.at(mask, refit(mask)), model(x), atol=1e-5)
            assert not norms or not torch.allclose(small.at(mask, without_norms(refit)(mask)), model(x), atol=1e-3)


@torch.no_grad()
def with_statistics(refit, fitted, keep):
    """The network with the weights of a mask, and with statistics that its norms would measure."""
    model = copy.deepcopy(fitted)
    for name, (weight, bias) in without_norms(refit)(keep).items():
        (node,) = (node for node in refit.equations if node.target == name)
        layer, positions, norm = model.get_submodule(name), refit.equations[node].positions, str(next(iter(node.users)).target)
        reads = refit.replay.values[node.all_input_nodes[0]]
        before = rows_of(layer, reads, positions) @ matrix_of(layer)[0]
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
        after = rows_of(layer, refit.replay.changed_inputs(keep)[node].onto(reads), positions) @ matrix_of(layer)[0]
        if norm in ("body.3", "body.6"):
            change_(model.get_submodule(norm), before.double(), after.double())
    return model


def change_(norm, before, after):
    norm.running_mean += after.mean(dim=0) - before.mean(dim=0)
    share = (after.var(dim=0, correction=0) + norm.eps) / (before.var(dim=0, correction=0) + norm.eps)
    norm.running_var.copy_((norm.running_var + norm.eps) * share - norm.eps)


def test_a_norm_that_the_full_fit_left_stays():
    dense, layout = normed(0)
    splits, (near, _) = splits_of(dense), half(layout, 0, 0.75)
    refit = Refit(dense, dense, layout, near, splits.calibration, {"body.2": 1.0}, {"body.6"}, 0)
    assert {str(node.target): layer.norm is not None for node, layer in refit.equations.items()} == {"body.2": False, "body.5": True}


class Beside(nn.Module):
    """A layer that is read by a norm, and by a skip connection as well."""

    def __init__(self):
        super().__init__()
        self.first, self.layer, self.norm, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        y = self.layer(torch.relu(self.first(x)))
        return self.last(torch.relu(self.norm(y)) + torch.relu(y))


def test_a_layer_that_others_read_beside_its_norm_has_the_weights_of_the_fit():
    torch.manual_seed(0)
    dense = Beside().eval()
    layout, splits = trace(dense, torch.zeros(1, 3, 24, 24)), splits_of(dense)
    refit = Refit(dense, dense, layout, np.ones(layout.n, bool), splits.calibration, {"last": 1.0}, {"norm"}, 0)
    assert [str(node.target) for node in refit.equations] == ["last"]


def test_dead_filters_and_constant_channels_stay_finite(monkeypatch):
    monkeypatch.setattr(choice, "STRENGTHS", ())
    dense, layout = normed(0)
    for layer in (2, 5):
        dense.body[layer].weight.data[1] = 0
    splits, (near, keep) = splits_of(dense), half(layout, 0, 0.75, 6)
    metric = compensated_metric(Ridge(batchnorm=True), dense, layout, near, splits, 0)
    found = [metric.refit(mask) for mask in keep]
    assert any(found)
    for others in found:
        for name, (weight, bias) in others.items():
            assert weight.isfinite().all() and not weight[1].any()
            assert bias.isfinite().all() and bias[1].abs() < 1e-5, name
