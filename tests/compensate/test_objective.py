import numpy as np
import pytest
import torch

from qprune_cli.compensate.none import NoCompensation
from qprune_cli.compensate.objective import compensated_psnr
from qprune_cli.compensate.refit import rows_of
from qprune_cli.compensate.ridge import Ridge
from qprune_cli.data.sample import Sample
from qprune_cli.evaluate.masked import silenced_psnr
from qprune_cli.evaluate.metric import MaskPsnr
from qprune_cli.search.moves import swapped
from qprune_cli.structure.gated import whole
from qprune_cli.structure.replay import Replay
from qprune_cli.structure.trace import trace
from scripts.objectives import planned


@pytest.fixture(scope="module")
def trained():
    dense = planned("model=half_unet_small").model.load()
    return dense, trace(dense), Sample(crops=8, crop_size=48, block_size=64).load(seed=0)


def half(layout, seed):
    rng = np.random.default_rng(seed)
    near = rng.permutation(layout.n) < 0.5 * layout.n
    pairs = zip(*(rng.choice(np.flatnonzero(near == kept), 4).tolist() for kept in (True, False)), strict=True)
    keep = np.stack([swapped(near, [pair]) for pair in pairs])
    return near, keep


def test_at_the_start_it_is_the_psnr_of_the_fitted_network(trained):
    dense, layout, splits = trained
    near, _ = half(layout, 0)
    metric = compensated_psnr(Ridge(2000), dense, layout, near, splits, 0)
    fitted = Ridge(2000).fit(dense, layout, near, splits, 0)[0]
    found = metric.measure(near[None], np.arange(metric.images), near)
    assert abs(found.mean() - silenced_psnr(fitted, layout, near, splits.refinement)) < 1e-4
    assert found.mean() > silenced_psnr(dense, layout, near, splits.refinement) + 0.1


def test_a_swap_comes_nearer_to_a_full_fit_than_the_weights_of_the_start(trained):
    dense, layout, splits = trained
    errors = []
    for seed in range(2):
        near, keep = half(layout, seed)
        keep = keep[:2]
        metric = compensated_psnr(Ridge(2000), dense, layout, near, splits, 0)
        images = np.arange(metric.images)
        again, plain = (m.measure(keep, images, near).mean(axis=1) for m in (metric, MaskPsnr(metric.model, layout, splits.refinement)))
        full = [Ridge(2000).fit(dense, layout, mask, splits, 0)[1]["refinement_psnr"]["after"] for mask in keep]
        errors.append((np.abs(again - full).mean(), np.abs(plain - full).mean()))
    ours, theirs = np.mean(errors, axis=0)
    assert ours < 0.5 * theirs


def test_without_compensation_it_is_the_silenced_network(trained):
    dense, layout, splits = trained
    near, keep = half(layout, 0)
    metric = compensated_psnr(NoCompensation(), dense, layout, near, splits, 0)
    true = [silenced_psnr(dense, layout, mask, splits.refinement) for mask in keep]
    assert np.abs(metric.measure(keep, np.arange(metric.images), near).mean(axis=1) - true).max() < 1e-4


def test_a_change_of_one_filter_is_read_by_its_consumers_alone(trained):
    dense, layout, splits = trained
    x = torch.from_numpy(splits.calibration.pairs[0].noisy[None])
    replay = Replay(whole(dense, layout), np.ones(layout.n, bool), x)
    first = np.arange(layout.n) != np.flatnonzero(~replay.dead())[0]
    assert {str(node.target) for node in replay.read(first)} <= set(layout.groups[0].consumers)


def test_re_fitted_normal_equations_are_those_of_the_changed_rows(trained):
    dense, layout, splits = trained
    near, keep = half(layout, 0)
    refit = compensated_psnr(Ridge(2000), dense, layout, near, splits, 0).refit
    for node, part in refit.replay.read(keep[0]).items():
        if node not in refit.kept:
            continue
        kept = refit.kept[node]
        (source,) = node.all_input_nodes
        rows = rows_of(kept.module, part.onto(refit.replay.values[source]), kept.places).double()
        found = kept.changed(part)
        assert torch.allclose(found.inner[0], rows.mT @ rows) and torch.allclose(found.cross[0], rows.mT @ kept.targets.double())
