"""From a network and samples to the programs of the scorer ``mip``."""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from qprune_cli.calibration.samples import inputs_of, labels_of
from qprune_cli.cost.cost import Cost
from qprune_cli.embedding.contribution import Contributions, contributions, logit_contributions
from qprune_cli.embedding.embed import embedded, taps_of
from qprune_cli.embedding.head import pooled_gates, probed, tangent_contributions, tangents
from qprune_cli.embedding.pieces import Pieces
from qprune_cli.graph.network import Network
from qprune_cli.problem.budget import Prices
from qprune_cli.program.build import Formulation, Limit
from qprune_cli.program.loss import CLASSIFIER
from qprune_cli.program.task import JointTask, LayerTask, SolveSettings
from qprune_cli.types import Bools, Floats, ImageSet, Ints, Layout

HEADS = ("tangent", "probe")


def layer_tasks(
    pieces: Pieces,
    layout: Layout,
    shown: ImageSet,
    calibration: ImageSet,
    keep: Bools | None,
    how: Formulation,
    search: SolveSettings,
    head: str,
    outputs: int,
    limits: list[Limit | None],
    seed: int,
) -> list[LayerTask]:
    """One program for each layer, on the activations that the network has at a mask.

    Args:
        pieces: the network, with its results on the samples.
        layout: its filters.
        shown: the samples.
        calibration: images that a probe is fitted on.
        keep: (n,) mask; None keeps all.
        how: the formulation.
        search: lambdas and time limits.
        head: tangent or probe, for losses of labels.
        outputs: of each layer's readers, for the other losses.
        limits: of binary scores, for each layer.
        seed: draws the outputs.
    """
    seen = (
        _of_labels(pieces, layout, shown, calibration, keep, head)
        if how.loss in CLASSIFIER
        else (contributions(pieces, group, outputs, how.loss, np.random.default_rng([seed, k])) for k, group in enumerate(layout.groups))
    )
    taps = taps_of(pieces.network.model, layout)
    return [
        LayerTask(group.layer, own.columns, own.base, own.wanted, how, int(tap), limit, search)
        for group, own, tap, limit in zip(layout.groups, seen, taps, limits, strict=True)
    ]


def _of_labels(
    pieces: Pieces, layout: Layout, shown: ImageSet, calibration: ImageSet, keep: Bools | None, head: str
) -> Iterator[Contributions]:
    """Logits that are linear in the scores of a layer."""
    labels, model = labels_of(shown), pieces.network.model
    if head == "tangent":
        slopes, logits = tangents(model, layout, shown, keep)
        yield from tangent_contributions(layout, slopes, logits, labels, keep)
        return
    network = Network(model, layout.shape, layout.wrap)
    everything = Pieces(network, layout, keep).over(inputs_of(model, calibration))
    classes = int(pieces.given.shape[1])
    for group in layout.groups:
        own = logit_contributions(pieces, group, labels)
        yield own or probed(pooled_gates(everything, group), labels_of(calibration), pooled_gates(pieces, group), labels, classes)


def joint_tasks(
    model: nn.Module,
    layout: Layout,
    shown: ImageSet,
    keep: Bools | None,
    how: Formulation,
    search: SolveSettings,
    by_class: bool,
    limit: Limit | None,
) -> list[JointTask]:
    """One program for the network, or one for the samples of each class; computed in float64.

    Args:
        model: the network.
        layout: its filters.
        shown: the samples.
        keep: (n,) mask whose dropped filters get the score 0; None for none.
        how: the formulation.
        search: lambdas and time limits.
        by_class: whether each class has its own.
        limit: of binary scores.
    """
    double = copy.deepcopy(model).cpu().double()
    x = inputs_of(double, shown)
    network = embedded(double, layout, x.shape[1:])
    with torch.no_grad():
        outputs = double(x).flatten(1).numpy()
    flat, allowed = x.flatten(1).numpy(), np.ones(layout.n, bool) if keep is None else keep
    labelled = how.loss in CLASSIFIER or by_class
    labels = labels_of(shown) if labelled else np.zeros(len(flat), np.int64)
    wanted: Floats | Ints = labels if how.loss in CLASSIFIER else outputs
    parts = [(f"class {c}", labels == c) for c in np.unique(labels)] if by_class else [("network", np.ones(len(flat), bool))]
    return [JointTask(name, network, flat[own], wanted[own], how, allowed, limit, search) for name, own in parts]


def joint_limit(model: nn.Module, layout: Layout, sparsity: float, budget: str) -> Limit:
    """What binary scores of a whole network have to meet."""
    if budget == "filters":
        return Limit(kept=max(1, round(layout.n * (1 - sparsity))))
    cost = Cost(model, layout, layout.shape[1:])
    prices = Prices.probed(layout, lambda mask: float(cost.footprint(mask).params))
    return Limit(prices=prices, spend=(1 - sparsity) * cost.footprint(np.ones(layout.n, bool)).params)


def layer_limits(model: nn.Module, layout: Layout, sparsity: float, budget: str | None) -> list[Limit | None]:
    """The same for programs that know their own layer alone: each keeps the same share; with no budget, none has a limit."""
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
