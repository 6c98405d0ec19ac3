"""Importance scores by mixed integer programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from qprune_cli.calibration.checks import check_choice, check_count
from qprune_cli.calibration.dead import dead_first
from qprune_cli.calibration.samples import balanced, centre_crops, stacked_inputs
from qprune_cli.calibration.weights import tie_breaks, weight_norms
from qprune_cli.embedding.masked_run import MaskedRun
from qprune_cli.embedding.programs import HEADS, joint_limit, joint_tasks, layer_limits, layer_tasks
from qprune_cli.errors import UserError
from qprune_cli.graph.network import Network
from qprune_cli.program.build import Formulation
from qprune_cli.program.loss import CLASSIFIER, LOSSES
from qprune_cli.program.task import SolveSettings, Task
from qprune_cli.program.workers import check_workers, solve_all
from qprune_cli.scores import Pairs, Scores
from qprune_cli.types import Bools, ImageSet, Layout, Splits

AUTO = "auto"
MODES = ("decoupled", "joint", "by_class")
UNITS = ("filters", "params")  # that binary scores can meet
LARGEST = 1e9  # price or number of seconds that the solver takes
SMALL = 1e-6  # mean score of a program that keeps nothing
TIE = 1e-3  # of a score, for the largest weight norm: decides between filters of equal scores


@dataclass(frozen=True)
class Mip:
    r"""A score in [0, 1] for every filter: as few filters as possible, while the loss stays low.

    The network becomes rows of a program in which every filter is multiplied by its score ``s_i``, and SCIP minimises
    ``lambda * loss + sparsity term`` over the scores and all that follows from them.

    decoupled: one program for each layer, on the activations of the trained network. Its input is fixed, so what reads it is linear in the
    scores, exactly, and nothing is integer unless the scores are. The loss is that of an auxiliary objective, linear in the scores: for
    margin and softmax the logits of a head in closed form, either a linear probe, or the rest of the network as its tangent; for l1 and l2
    the outputs of the layers that read the filters, as shares of what they are. Programs are independent and run side by side.

    joint: one program for the whole network, with ReLU states (see ``program/gate.py``); by_class: one for the samples of each class,
    with the mean of the scores. Both need a loss at the end of the network: of labels, or l1 and l2 of its outputs.

    The heads in place of trained ones, the valid gate, scores that are the mean over several lambdas, and the reconstruction losses are
    ours. Equal scores are told apart by weight norms; filters that are 0 on all samples go first.

    Args:
        mode: decoupled, joint or by_class.
        gate: valid, or published: with the bounds of the uncut network (joint programs).
        relu: binary or relaxed states (joint programs).
        loss: margin, softmax (for labels), l1, l2; auto takes softmax for labels and l1 for images.
        head: tangent or probe, behind each layer of a classifier (decoupled).
        sparsity_term: normalised: mean score of each layer; published: see ``program/sparsity.py``.
        scores: continuous; binary: exactly as many are 1 as may stay.
        sparsity: what binary scores remove, in [0, 1).
        budget: of binary scores: filters or params.
        lambdas: prices of the loss; the published one is 5.
        images: samples of each class.
        patches: samples where there are no classes, spread evenly over the images.
        patch: side in pixels of such a sample, the centre of its image.
        outputs: of a layer's readers to look at, for l1 and l2.
        epsilon: half width of the box around the inputs that published bounds hold in.
        tighten: seconds to spend on better bounds by linear programs, for each joint program.
        seconds: time limit of each program; the scores are then the best found. Where that is nothing, a linear program stands in:
            continuous scores, relaxed ReLUs, the margin for softmax and l1 for l2, and ten minutes of its own.
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
    loss: str = AUTO
    head: str = "tangent"
    sparsity_term: str = "normalised"
    scores: str = "continuous"
    sparsity: float = 0.5
    budget: str = "filters"
    lambdas: tuple[float, ...] = (1.0, 5.0, 25.0)
    images: int = 10
    patches: int = 16
    patch: int = 48
    outputs: int = 2000
    epsilon: float = 1e-5
    tighten: float = 0.0
    seconds: float = 120.0
    gap: float = 1e-3
    jobs: int = -1
    backend: str = "loky"
    cluster: str | None = None

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, MODES)
        check_choice("head", self.head, HEADS)
        check_choice("loss", self.loss, (*LOSSES, AUTO))
        self._formulation("l1")  # checks the settings that it takes
        if not self.lambdas or any(not 0 < price <= LARGEST for price in self.lambdas):
            raise UserError(
                f"scorer.lambdas={list(self.lambdas)}: give at least one price of the loss, above 0 and at most {LARGEST:g}, such as [5]"
            )
        for name in ("images", "patches", "patch", "outputs"):
            check_count(name, getattr(self, name))
        if not 0 < self.seconds <= LARGEST:
            raise UserError(f"scorer.seconds={self.seconds}: give a time limit in seconds, above 0 and at most {LARGEST:g}")
        if not 0 <= self.gap < np.inf:
            raise UserError(f"scorer.gap={self.gap}: give a relative gap, at least 0")
        if not 0 <= self.sparsity < 1:
            raise UserError(f"scorer.sparsity={self.sparsity}, which follows sparsity: give the share of filters to remove, in [0, 1)")
        if self.scores == "binary" and self.budget not in UNITS:
            raise UserError(
                f"scorer.scores=binary: scores can meet budget=filters or params, not budget={self.budget}; take continuous ones"
            )
        check_workers(self.jobs, self.backend)

    def score(
        self, model: nn.Module, layout: Layout, splits: Splits, seed: int, keep: Bools | None = None, dense: nn.Module | None = None
    ) -> Scores:
        """Write the programs, solve them side by side, and put how that went into the notes.

        Raises:
            UserError: a loss that does not fit the data, an operation without a formulation, no answer in time.
        """
        loss = self._fitting_loss(splits.task == "classify")
        samples = self._samples(splits, seed)
        run = MaskedRun(Network(model, layout.shape, layout.wrap), layout, keep).over(stacked_inputs(model, samples))
        run.refuse_damaged(layout)
        solved = solve_all(self._tasks(run, layout, samples, splits, keep, loss, seed), self.jobs, self.backend, self.cluster)
        parts = [answer.scores for answer in solved]
        scores = np.concatenate(parts) if self.mode == "decoupled" else np.mean(parts, axis=0)
        norms = weight_norms(model, layout)
        notes = notes_of(self.mode, loss, len(samples), [row for answer in solved for row in answer.notes])
        return dead_first(Scores(scores + tie_breaks(norms, TIE), Pairs.none(), run.dead(layout), notes), norms)

    def _samples(self, splits: Splits, seed: int) -> ImageSet:
        """The images that the programs are written for: the same number of each class, or patches where there are no classes."""
        if splits.task == "classify":
            return balanced(splits.calibration, self.images, np.random.default_rng(seed))
        return centre_crops(splits.calibration, self.patches, self.patch)

    def _tasks(
        self, run: MaskedRun, layout: Layout, samples: ImageSet, splits: Splits, keep: Bools | None, loss: str, seed: int
    ) -> Sequence[Task]:
        """The programs of the layers, or of the network."""
        model, formulation, search = run.network.model, self._formulation(loss), SolveSettings(tuple(self.lambdas), self.seconds, self.gap)
        binary = self.scores == "binary"
        if self.mode == "decoupled":
            limits = layer_limits(model, layout, self.sparsity, self.budget if binary else None)
            calibration = splits.calibration
            return layer_tasks(run, layout, samples, calibration, keep, formulation, search, self.head, self.outputs, limits, seed)
        limit = joint_limit(model, layout, self.sparsity, self.budget) if binary else None
        return joint_tasks(model, layout, samples, keep, formulation, search, self.mode == "by_class", limit)

    def _formulation(self, loss: str) -> Formulation:
        return Formulation(self.gate, self.relu, loss, self.sparsity_term, self.scores, self.epsilon, self.tighten)

    def _fitting_loss(self, classify: bool) -> str:
        """The loss; refuses one that does not fit the images."""
        loss = ("softmax" if classify else "l1") if self.loss == AUTO else self.loss
        if loss in CLASSIFIER and not classify:
            raise UserError(f"scorer.loss={loss}: these images have no labels; take l1 or l2")
        if self.mode == "by_class" and not classify:
            raise UserError("scorer.mode=by_class: these images have no classes; take decoupled or joint")
        return loss


def notes_of(mode: str, loss: str, samples: int, programs: list[dict[str, Any]]) -> dict[str, Any]:
    """How the programs went, ready for JSON; under ``warnings`` what a user has to know of it.

    Args:
        mode: one of ``MODES``.
        loss: the loss of the programs.
        samples: number of samples that they were written for.
        programs: one row for each program and lambda (see ``Answer``).
    """
    rows: dict[str, Any] = {"mode": mode, "loss": loss, "samples": samples, "programs": programs}
    warnings = [*_given_up(programs), *_unproven(programs), *_worthless(programs)]
    return rows | ({"warnings": warnings} if warnings else {})


def _given_up(programs: list[dict[str, Any]]) -> list[str]:
    """Warn of programs that a linear program stands in for."""
    late = [row for row in programs if "fallback" in row]
    if not late:
        return []
    first, linear = late[0], late[0]["fallback"]
    outcome = "found nothing better than what it began with" if first["objective"] is not None else "found no solution"
    return [
        f"{len(late)} of {len(programs)} programs were given up ({first['program']} {outcome}: {first['status']}): the scores are those "
        "of the linear program instead, "
        f"with {linear['scores']} scores, {linear['relu']} ReLUs and loss {linear['loss']}; raise scorer.seconds"
    ]


def _unproven(programs: list[dict[str, Any]]) -> list[str]:
    """Warn of programs whose best solution is not proven to be one."""
    stopped = [row for row in programs if row["status"] not in ("optimal", "gaplimit") and "fallback" not in row]
    if not stopped:
        return []
    worst = max((row["gap"] for row in stopped if row["gap"] is not None), default=None)
    gap = "" if worst is None else f", with a gap of up to {worst:.3g}"
    return [f"{len(stopped)} of {len(programs)} programs ended by the time limit{gap}: not proven the best; raise scorer.seconds"]


def _worthless(programs: list[dict[str, Any]]) -> list[str]:
    """Warn where no filter got a score above 0."""
    if not all(row["mean_score"] < SMALL for row in programs):
        return []
    return ["all scores are 0, so weight norms alone chose: no loss is worth a filter at this price; raise scorer.lambdas"]
