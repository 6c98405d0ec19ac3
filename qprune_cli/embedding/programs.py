"""From a network and samples to the programs of the scorer ``mip``."""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from qprune_cli.calibration.samples import labels_of, stacked_inputs
from qprune_cli.cost.cost import Cost
from qprune_cli.embedding.contribution import Contributions, contributions, logit_contributions
from qprune_cli.embedding.embed import embedded, taps_of
from qprune_cli.embedding.linear_head import pooled_gates, probe_contributions, tangent_contributions, tangents
from qprune_cli.embedding.masked_run import MaskedRun
from qprune_cli.graph.network import Network
from qprune_cli.problem.budget import Prices
from qprune_cli.program.build import Formulation, Limit
from qprune_cli.program.loss import CLASSIFIER
from qprune_cli.program.task import JointTask, LayerTask, SolveSettings
from qprune_cli.types import Bools, Floats, ImageSet, Ints, Layout

HEADS = ("tangent", "probe")


def layer_tasks(
    run: MaskedRun,
    layout: Layout,
    samples: ImageSet,
    calibration: ImageSet,
    keep: Bools | None,
    formulation: Formulation,
    search: SolveSettings,
    head: str,
    outputs: int,
    limits: list[Limit | None],
    seed: int,
) -> list[LayerTask]:
    """One program for each layer, on the activations that the network has at a mask.

    Args:
        run: the network, with its results on the samples.
        layout: its filters.
        samples: images that the programs are written for.
        calibration: images that a probe is fitted on.
        keep: (n,) mask; None keeps all.
        formulation: how the programs are written.
        search: lambdas and time limits.
        head: tangent or probe, for losses of labels.
        outputs: of each layer's readers, for the other losses.
        limits: of binary scores, for each layer.
        seed: draws the outputs.
    """
    parts = (
        _logit_parts(run, layout, samples, calibration, keep, head)
        if formulation.loss in CLASSIFIER
        else (
            contributions(run, group, outputs, formulation.loss, np.random.default_rng([seed, k])) for k, group in enumerate(layout.groups)
        )
    )
    taps = taps_of(run.network.model, layout)
    return [
        LayerTask(group.layer, part.columns, part.base, part.wanted, formulation, int(tap), limit, search)
        for group, part, tap, limit in zip(layout.groups, parts, taps, limits, strict=True)
    ]


def _logit_parts(
    run: MaskedRun, layout: Layout, samples: ImageSet, calibration: ImageSet, keep: Bools | None, head: str
) -> Iterator[Contributions]:
    """For each layer: logits that are linear in its scores."""
    labels, model = labels_of(samples), run.network.model
    if head == "tangent":
        slopes, logits = tangents(model, layout, samples, keep)
        yield from tangent_contributions(layout, slopes, logits, labels, keep)
        return
    fitted = MaskedRun(Network(model, layout.shape, layout.wrap), layout, keep).over(stacked_inputs(model, calibration))
    fitted_labels, classes = labels_of(calibration), int(run.network_output.shape[1])
    for group in layout.groups:
        exact = logit_contributions(run, group, labels)
        yield exact or probe_contributions(pooled_gates(fitted, group), fitted_labels, pooled_gates(run, group), labels, classes)


def joint_tasks(
    model: nn.Module,
    layout: Layout,
    samples: ImageSet,
    keep: Bools | None,
    formulation: Formulation,
    search: SolveSettings,
    by_class: bool,
    limit: Limit | None,
) -> list[JointTask]:
    """One program for the network, or one for the samples of each class; computed in float64.

    Args:
        model: the network.
        layout: its filters.
        samples: images that the programs are written for.
        keep: (n,) mask whose dropped filters get the score 0; None for none.
        formulation: how the programs are written.
        search: lambdas and time limits.
        by_class: whether each class has a program.
        limit: of binary scores.
    """
    double = copy.deepcopy(model).cpu().double()
    x = stacked_inputs(double, samples)
    network = embedded(double, layout, x.shape[1:])
    with torch.no_grad():
        outputs = double(x).flatten(1).numpy()
    flat, allowed = x.flatten(1).numpy(), np.ones(layout.n, bool) if keep is None else keep
    labelled = formulation.loss in CLASSIFIER or by_class
    labels = labels_of(samples) if labelled else np.zeros(len(flat), np.int64)
    wanted: Floats | Ints = labels if formulation.loss in CLASSIFIER else outputs
    parts = [(f"class {c}", labels == c) for c in np.unique(labels)] if by_class else [("network", np.ones(len(flat), bool))]
    return [JointTask(name, network, flat[part], wanted[part], formulation, allowed, limit, search) for name, part in parts]


def joint_limit(model: nn.Module, layout: Layout, sparsity: float, budget: str) -> Limit:
    """What binary scores of a whole network have to meet, for a budget of filters or params."""
    if budget == "filters":
        return Limit(kept=max(1, round(layout.n * (1 - sparsity))))
    cost = Cost(model, layout, layout.shape[1:])
    prices = Prices.probed(layout, lambda mask: float(cost.footprint(mask).params))
    return Limit(prices=prices, spend=(1 - sparsity) * cost.footprint(np.ones(layout.n, bool)).params)


def layer_limits(model: nn.Module, layout: Layout, sparsity: float, budget: str | None) -> list[Limit | None]:
    """What binary scores of each layer have to meet: a program sees one layer alone, so all keep the same share.

    Args:
        model: the network.
        layout: its filters.
        sparsity: share that is to go, in [0, 1).
        budget: filters or params, what the share is of; None sets no limits.
    """
    if budget is None:
        return [None for _ in layout.groups]
    share = 1 - sparsity if budget == "filters" else _even_share(model, layout, 1 - sparsity)
    return [Limit(kept=max(1, round(group.channels * share))) for group in layout.groups]


def _even_share(model: nn.Module, layout: Layout, share: float) -> float:
    """The share of each layer's filters that may stay, so that a share of the parameters does."""
    cost, low, high = Cost(model, layout, layout.shape[1:]), 0.0, 1.0
    total = cost.footprint(np.ones(layout.n, bool)).params
    for _ in range(20):
        middle = (low + high) / 2
        first = [np.arange(group.channels) < max(1, round(group.channels * middle)) for group in layout.groups]
        low, high = (middle, high) if cost.footprint(np.concatenate(first)).params <= share * total else (low, middle)
    return low
