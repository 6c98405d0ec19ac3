"""Re-fitting classifiers: linear layers, and convolutions whose maps a linear layer reads."""

import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.compensate.ridge import Ridge
from qprune_cli.evaluate.classification import Classification
from qprune_cli.evaluate.masked import silenced_merit
from qprune_cli.graph.trace import trace
from qprune_cli.images.memory import MemoryImages
from qprune_cli.regression.objective import compensated_metric
from qprune_cli.types import ImageSet, Pair, Splits
from tests.blobs import blobs, taught

NAMES = Classification()


def splits_of(model, side=8):
    """Images whose labels are what a network answers, so that none is better than it."""
    parts = []
    for seed, count in enumerate((4, 60, 40, 60)):
        images, _ = next(blobs(count, seed, side).batches(count))
        with torch.no_grad():
            labels = model(torch.from_numpy(images)).argmax(dim=1).numpy()
        parts.append(ImageSet(tuple(Pair(f"{k}", *pair) for k, pair in enumerate(zip(images, labels, strict=True)))))
    return Splits(MemoryImages(parts[0]), *parts[1:], "classify")


def doubled(convolutions):
    """A trained classifier whose second filter of each layer is a copy of the first: dropping it loses what re-fitting gives back."""
    model = taught(convolutions, steps=20)
    with torch.no_grad():
        for module in [*model][:-1]:
            for tensor in module.state_dict().values() if not isinstance(module, nn.Flatten) else ():
                if tensor.dim():
                    tensor[1] = tensor[0]
        model[-1].weight *= 10  # it is sure, so that any other answer costs something
        model[-1].bias *= 10
    return model


@pytest.mark.parametrize("convolutions", [False, True])
def test_what_a_dropped_copy_gave_is_given_by_the_other(convolutions):
    model = doubled(convolutions)
    splits = splits_of(model)
    layout = trace(model, torch.empty(1, 1, 8, 8))
    keep = np.concatenate([np.arange(group.channels) != 1 for group in layout.groups])
    fitted, notes = Ridge().fit(model, layout, keep, splits, 0)
    dense, raw, refitted = (
        silenced_merit(NAMES, network, layout, mask, splits.test) for network, mask in ((model, keep | True), (model, keep), (fitted, keep))
    )
    assert notes["accepted"] and abs(refitted - dense) < 0.1 * abs(raw - dense)
    assert notes["refinement_log_likelihood"]["after"] > notes["refinement_log_likelihood"]["before"]


@pytest.mark.parametrize("batchnorm", [False, True])
def test_metric_at_the_start_is_the_merit_of_the_fitted_network(batchnorm):
    model = doubled(convolutions=True)
    splits = splits_of(model)
    layout = trace(model, torch.empty(1, 1, 8, 8))
    keep = np.concatenate([np.arange(group.channels) != 1 for group in layout.groups])
    metric = compensated_metric(Ridge(batchnorm=batchnorm), model, layout, keep, splits, 0)
    found = metric.measure(keep[None], np.arange(metric.images), keep).mean()
    assert abs(found - silenced_merit(NAMES, metric.model, layout, keep, splits.refinement)) < 1e-4
    assert found > silenced_merit(NAMES, model, layout, keep, splits.refinement)


def test_images_that_a_linear_layer_reads_are_never_cut():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, stride=4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 11**2, 3))
    splits = splits_of(model, side=52)
    layout = trace(model.eval(), torch.empty(1, 1, 52, 52))
    keep = np.arange(layout.n) % 4 > 0
    metric = compensated_metric(Ridge(), model, layout, keep, splits, 0)
    other = keep.copy()
    other[:2] = ~other[:2]
    assert np.isfinite(metric.measure(other[None], np.arange(4), keep)).all()
