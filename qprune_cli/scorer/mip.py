"""Importance scores by mixed integer programs."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.errors import UserError, nearest
from qprune_cli.problem.budget import Prices
from qprune_cli.program.answer import JointTask, LayerTask, Search, Task, answers, check_workers
from qprune_cli.program.build import Formulation, Limit
from qprune_cli.program.loss import CLASSIFIER, REGRESSION
from qprune_cli.program.network import layers_of
from qprune_cli.scores import Pairs, Scores
from qprune_cli.structure.contribution import contributions, logit_contributions
from qprune_cli.structure.cost import Cost
from qprune_cli.structure.dead import dead_first
from qprune_cli.structure.embed import embedded, score_of, taps_of
from qprune_cli.structure.execute import precision
from qprune_cli.structure.feed import centres
from qprune_cli.structure.head import pooled_gates, probed
from qprune_cli.structure.network import Network
from qprune_cli.structure.pieces import Pieces
from qprune_cli.structure.weights import weight_norms
from qprune_cli.types import Bools, FilterGroup, Floats, ImageSet, Ints, Layout, Splits

MODES = ("decoupled", "joint", "by_class")
UNITS = ("filters", "params")  # that binary scores can meet
TIE = 1e-3  # of a score, for the largest weight norm: decides between filters of equal scores


@dataclass(frozen=True)
class Mip:
    r"""A score in [0, 1] for every filter: as few filters as possible, while the loss stays low.

    The network becomes rows of a program in which every filter is multiplied by its score ``s_i``, and SCIP minimises
    ``lambda * loss + sparsity term`` over the scores and all that follows from them.

    decoupled: one program for each layer, on the activations of the trained network. Its input is fixed, so what reads it is linear in the
    scores, exactly, and nothing is integer unless the scores are. The loss is that of an auxiliary objective: for margin and softmax the
    logits of a linear probe, fitted in closed form, or the network's own where they read the layer; for l1 and l2 the outputs of the layers
    that read it, as shares of what they are. Programs are independent and run side by side.

    joint: one program for the whole network, with ReLU states (see ``program/gate.py``); by_class: one for the samples of each class,
    with the mean of the scores. Both need a loss at the end of the network: of labels, or l1 and l2 of its outputs.

    The probe in place of trained auxiliary heads, the valid gate, scores that are the mean over several lambdas, and the reconstruction
    losses are ours. Equal scores are told apart by weight norms; filters that are 0 on all samples go first.

    Args:
        mode: decoupled, joint or by_class.
        gate: valid, or published: with the bounds of the uncut network (joint programs).
        relu: binary or relaxed states (joint programs).
        loss: margin, softmax (for labels), l1, l2; auto takes l2 for labels and l1 for images.
        sparsity_term: normalised: mean score of each layer; published: see ``program/sparsity.py``.
        scores: continuous; binary: exactly as many are 1 as may stay.
        sparsity: what binary scores remove, in [0, 1).
        budget: of binary scores: filters or params.
        lambdas: prices of the loss; the published one is 5.
        images: samples of each class, or in all where there are no classes.
        patch: side in pixels of the centre that is cut out of every picture without a label.
        outputs: of a layer's readers to look at, for l1 and l2.
        epsilon: half width of the box around the inputs that published bounds hold in.
        tighten: seconds to spend on better bounds by linear programs, for each joint program.
        seconds: time limit of each program; the scores are then the best found, or those of the linear program.
        gap: relative gap at which a program may stop.
        jobs: processes; -1 for one for each core.
        backend: loky, threading, sequential; dask or ray for a cluster.
        cluster: address of its scheduler; None starts one on this machine.

    References:
        ElAraby, Wolf, Carvalho, "Identifying critical neurons in ANN architectures using mixed integer programming", CPAIOR 2023,
        arXiv:2002.07259.
    """

    mode: str = "decoupled"
    gate: str = "valid"
    relu: str = "binary"
    loss: str = "auto"
    sparsity_term: str = "normalised"
    scores: str = "continuous"
    sparsity: float = 0.5
    budget: str = "filters"
    lambdas: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0, 10.0)
    images: int = 20
    patch: int = 48
    outputs: int = 4000
    epsilon: float = 1e-5
    tighten: float = 0.0
    seconds: float = 120.0
    gap: float = 0.0
    jobs: int = -1
    backend: str = "loky"
    cluster: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"scorer.mode={self.mode}: no such mode; {nearest(self.mode, MODES)}")
        if self.loss != "auto":
            self._how(self.loss)
        self._how("l1")
        if not self.lambdas or any(not 0 < price < np.inf for price in self.lambdas):
            raise UserError(f"scorer.lambdas={list(self.lambdas)}: give at least one price of the loss, above 0, such as [5]")
        for name in ("images", "patch", "outputs"):
            if getattr(self, name) < 1:
                raise UserError(f"scorer.{name}={getattr(self, name)}: give a number, at least 1")
        if not 0 < self.seconds < np.inf:
            raise UserError(f"scorer.seconds={self.seconds}: give a time limit in seconds, above 0")
        if not 0 <= self.gap < np.inf:
            raise UserError(f"scorer.gap={self.gap}: give a relative gap, at least 0")
        if not 0 <= self.sparsity < 1:
            raise UserError(f"scorer.sparsity={self.sparsity}: give the share to remove, in [0, 1)")
        if self.scores == "binary" and self.budget not in UNITS:
            raise UserError(f"scorer.scores=binary: scores can meet budget=filters or params, not budget={self.budget}; take continuous ones")
        check_workers(self.jobs, self.backend)

    def score(
        self, model: nn.Module, layout: Layout, splits: Splits, seed: int, keep: Bools | None = None, dense: nn.Module | None = None
    ) -> Scores:
        """Write the programs, solve them side by side, and say how that went.

        Raises:
            UserError: a loss that does not fit the data, an operation without a formulation, no answer in time.
        """
        classify = splits.task == "classify"
        loss = ("l2" if classify else "l1") if self.loss == "auto" else self.loss
        if loss in CLASSIFIER and not classify:
            raise UserError(f"scorer.loss={loss}: these images have no labels; take l1 or l2")
        if self.mode == "by_class" and not classify:
            raise UserError("scorer.mode=by_class: these images have no classes; take decoupled or joint")
        shown = balanced(splits.calibration, self.images, np.random.default_rng(seed)) if classify else self._centres(splits)
        pieces = Pieces(Network(model, layout.shape, layout.wrap), layout, keep).over(inputs_of(model, shown))
        refuse_damaged(pieces, layout)
        if self.mode == "decoupled":
            tasks = self._layer_tasks(pieces, model, layout, splits, shown, loss, np.random.default_rng([seed, 1]))
        else:
            tasks = self._joint_tasks(model, layout, shown, loss, keep)
        found = answers(tasks, self.jobs, self.backend, self.cluster)
        scores = [answer.scores for answer in found]
        s = np.concatenate(scores) if self.mode == "decoupled" else np.mean(scores, axis=0)
        norms = weight_norms(model, layout)
        linear = s + TIE * norms / max(float(norms.max()), np.finfo(float).tiny)
        notes = told(self.mode, loss, len(shown), [row for answer in found for row in answer.notes])
        return dead_first(Scores(linear, Pairs.none(), dead_of(pieces, layout), notes), norms)

    def _how(self, loss: str) -> Formulation:
        return Formulation(self.gate, self.relu, loss, self.sparsity_term, self.scores, self.epsilon, self.tighten)

    @property
    def _search(self) -> Search:
        return Search(tuple(self.lambdas), self.seconds, self.gap)

    def _centres(self, splits: Splits) -> ImageSet:
        return centres(splits.calibration, self.images, self.patch)

    def _layer_tasks(
        self, pieces: Pieces, model: nn.Module, layout: Layout, splits: Splits, shown: ImageSet, loss: str, rng: np.random.Generator
    ) -> list[Task]:
        """One program for each layer."""
        limits = self._layer_limits(model, layout)
        fitted = gate_features(model, layout, splits.calibration) if loss in CLASSIFIER else {}
        tasks: list[Task] = []
        for group, taps, limit in zip(layout.groups, taps_of(model, layout), limits, strict=True):
            if loss in REGRESSION:
                seen = contributions(pieces, group, self.outputs, loss, rng)
                wanted: Floats | Ints = seen.wanted
            else:
                wanted = labels_of(shown)
                own = logit_contributions(pieces, group)
                seen = own or probed(fitted[group.layer], labels_of(splits.calibration), pooled_gates(pieces, group), classes_of(pieces))
            tasks.append(LayerTask(group.layer, seen.columns, seen.base, wanted, self._how(loss), int(taps), limit, self._search))
        return tasks

    def _joint_tasks(self, model: nn.Module, layout: Layout, shown: ImageSet, loss: str, keep: Bools | None) -> list[Task]:
        """One program for the network, or for each class."""
        double = copy.deepcopy(model).cpu().double()
        x = inputs_of(double, shown)
        network = embedded(double, layout, x.shape[1:])
        with torch.no_grad():
            outputs = double(x).flatten(1).numpy()
        flat = x.flatten(1).numpy()
        labels = labels_of(shown) if loss in CLASSIFIER or self.mode == "by_class" else np.zeros(len(flat), np.int64)
        wanted: Floats | Ints = labels if loss in CLASSIFIER else outputs
        allowed = np.ones(layout.n, bool) if keep is None else keep
        limit = self._joint_limit(model, layout)
        parts = [(f"class {c}", labels == c) for c in np.unique(labels)] if self.mode == "by_class" else [("network", labels >= 0)]
        return [
            JointTask(name, network, flat[own], wanted[own], self._how(loss), allowed, limit, self._search) for name, own in parts
        ]

    def _joint_limit(self, model: nn.Module, layout: Layout) -> Limit | None:
        if self.scores == "continuous":
            return None
        if self.budget == "filters":
            return Limit(kept=max(1, round(layout.n * (1 - self.sparsity))))
        spend = Cost(model, layout, layout.shape[1:])
        prices = Prices.probed(layout, lambda mask: float(spend.footprint(mask).params))
        return Limit(prices=prices, spend=(1 - self.sparsity) * spend.footprint(np.ones(layout.n, bool)).params)

    def _layer_limits(self, model: nn.Module, layout: Layout) -> list[Limit | None]:
        """Of programs that know their own layer alone: the same share of each."""
        if self.scores == "continuous":
            return [None] * len(layout.groups)
        share = 1 - self.sparsity if self.budget == "filters" else even_share(model, layout, 1 - self.sparsity)
        return [Limit(kept=max(1, round(group.channels * share))) for group in layout.groups]


def balanced(images: ImageSet, each: int, rng: np.random.Generator) -> ImageSet:
    """The same number of images of each class, drawn at random; of a class that has fewer, all."""
    labels = labels_of(images)
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:each] for label in np.unique(labels)]
    return ImageSet(tuple(images.pairs[int(k)] for k in np.sort(np.concatenate(chosen))))


def labels_of(images: ImageSet) -> Ints:
    """(N,) labels."""
    return np.array([int(pair.clean) for pair in images.pairs])


def inputs_of(model: nn.Module, images: ImageSet) -> Tensor:
    """All images as one batch, on the device of a network and in its precision.

    Raises:
        UserError: they differ in shape.
    """
    shapes = {pair.noisy.shape for pair in images.pairs}
    if len(shapes) > 1:
        raise UserError(f"scorer.patch: calibration images of {len(shapes)} shapes are left; give a smaller patch, which all of them hold")
    device = next(model.parameters()).device
    return torch.from_numpy(np.stack([pair.noisy for pair in images.pairs])).to(device, precision(model))


def refuse_damaged(pieces: Pieces, layout: Layout) -> None:
    """Refuse a network that gives values that are not finite.

    Raises:
        UserError: it names the first such layer.
    """
    for group in layout.groups:
        if not all(torch.isfinite(value).all() for value in pieces.gates(group)):
            raise UserError(f"layer '{group.layer}': not finite on the calibration images; look for damaged images or weights")


def dead_of(pieces: Pieces, layout: Layout) -> Bools:
    """(n,) True where a filter is 0 on all samples."""
    found = []
    for group in layout.groups:
        live = [value.abs().transpose(0, 1).flatten(1).amax(dim=1) > 0 for value in pieces.gates(group)]
        found.append(~torch.stack(live).any(dim=0).cpu().numpy())
    return np.concatenate(found)


def classes_of(pieces: Pieces) -> int:
    """Number of outputs of a classifier."""
    return int(pieces.given.shape[1])


def gate_features(model: nn.Module, layout: Layout, images: ImageSet) -> dict[str, Floats]:
    """(N, C, cells) features of the gates of each layer on many images."""
    network = Network(model, layout.shape, layout.wrap)
    pieces = Pieces(network, layout, None).over(inputs_of(model, images))
    return {group.layer: pooled_gates(pieces, group) for group in layout.groups}


def even_share(model: nn.Module, layout: Layout, share: float) -> float:
    """The share of each layer's filters that may stay, so that a share of the parameters does."""
    cost, low, high = Cost(model, layout, layout.shape[1:]), 0.0, 1.0
    total = cost.footprint(np.ones(layout.n, bool)).params
    for _ in range(20):
        middle = (low + high) / 2
        first = [np.arange(group.channels) < max(1, round(group.channels * middle)) for group in layout.groups]
        low, high = (middle, high) if cost.footprint(np.concatenate(first)).params <= share * total else (low, middle)
    return low


def told(mode: str, loss: str, samples: int, programs: list[dict[str, Any]]) -> dict[str, Any]:
    """How the programs went, with what a user has to know of it."""
    late = [row for row in programs if "fallback" in row]
    open_ = [row for row in programs if row["status"] not in ("optimal", "gaplimit") and "fallback" not in row]
    warnings = []
    if late:
        warnings.append(
            f"{len(late)} of {len(programs)} programs had no solution in time or at all ({late[0]['program']}: {late[0]['status']}): their scores "
            "are those of the linear program; raise scorer.seconds"
        )
    if open_:
        worst = max((row["gap"] for row in open_ if row["gap"] is not None), default=None)
        gap = "" if worst is None else f", the gap is up to {worst:.3g}"
        warnings.append(f"{len(open_)} of {len(programs)} programs ended by the time limit{gap}; raise scorer.seconds for better scores")
    return {"mode": mode, "loss": loss, "samples": samples, "programs": programs} | ({"warnings": warnings} if warnings else {})
