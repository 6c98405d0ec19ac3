"""The verbs: what a component of each role must be able to do.

Promises beyond the signatures, which every component owes: it is pure, the same seed gives the same answer, and a
refiner is never worse than its start on the refinement split.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Scores
from qprune_cli.search.evaluations import EvaluationLog
from qprune_cli.train.distill import FindAlike
from qprune_cli.train.tuned import OnProgress, Tuned
from qprune_cli.types import Baseline, Bools, ImageSet, Layout, Retrained, Solution, Splits


class Data(Protocol):
    """Where images come from.

    One whose images have labels says so: ``task`` is "classify" then (and that of its splits), ``side`` is the height and width of its
    images, ``classes`` the number of classes, and a setting ``loss`` = "cross_entropy" becomes the loss where none is asked for.
    """

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""

    def load(self, seed: int) -> Splits:
        """Read the images and split them; ``seed`` draws the calibration crops."""

    def test(self) -> ImageSet:
        """Read the test images alone."""


class Model(Protocol):
    """Which network; one that names classes has ``task``, ``side`` and ``classes`` as data with labels does."""

    channels: int
    keep_layers: tuple[str, ...]  # names or patterns of layers whose filters all stay
    wrap: tuple[str, ...]  # black boxes that are kept whole

    @property
    def trained(self) -> bool:
        """Whether weights are named."""

    def build(self) -> nn.Module:
        """The network with fresh weights."""

    def load(self) -> nn.Module:
        """The network with trained weights, in evaluation mode."""


class Scorer(Protocol):
    """What each filter is worth."""

    def score(
        self, model: nn.Module, layout: Layout, splits: Splits, seed: int, keep: Bools | None = None, dense: nn.Module | None = None
    ) -> Scores:
        """Score all filters of a trained network, at a mask; None keeps all.

        A kept filter is scored by what the loss rises when it goes, a dropped one by what bringing it back is worth, by the
        same formula. ``dense`` is the network before any weights were re-fitted; None where it is the same.
        """


class Solver(Protocol):
    """Which filters to keep."""

    def check(self, problem: PruningProblem) -> None:
        """Raise UserError where it cannot take a problem of such layers and such a budget; scores are not looked at."""

    def solve(self, problem: PruningProblem, seed: int) -> Solution:
        """Propose a feasible mask of small damage."""


class Compensator(Protocol):
    """Re-fits the weights that a mask leaves."""

    def fit(
        self, dense: nn.Module, layout: Layout, keep: Bools, splits: Splits, seed: int, before: Bools | None = None
    ) -> tuple[nn.Module, Mapping[str, Any]]:
        """Return a network of the shape of the dense one, at least as good under the mask, and how it went, ready for JSON.

        A network that was trained in an earlier round was trained behind the mask ``before``.
        """


class Baselines(Protocol):
    """What a method is compared with in its own run."""

    def list(self, seed: int) -> Sequence[Baseline]:
        """The masks that are wanted."""


class FineTune(Protocol):
    """Trains the weights that a mask leaves."""

    @property
    def losses(self) -> tuple[str, ...]:
        """The losses that it trains with, which the images have to fit; none where nothing is trained."""

    def check(self, device: torch.device) -> None:
        """Raise UserError where it cannot be done on a device; nothing is read."""

    def ready(self, splits: Splits) -> None:
        """Raise UserError where it cannot use images."""

    def share(self, part: int, parts: int) -> "FineTune":
        """The same with the steps of one of several parts, which add up to all."""

    @property
    def dense_control(self) -> Mapping[str, Any]:
        """All settings that the same training of the dense network depends on; empty where it is not wanted."""

    def fit(
        self, model: nn.Module, teacher: nn.Module, alike: FindAlike, splits: Splits, seed: int, checkpoint: Path, on_progress: OnProgress
    ) -> Tuned:
        """Train a copy of a network, at least as good on the refinement images; goes on from ``checkpoint`` where that exists."""


class Refiner(Protocol):
    """Tunes a mask on the true metric.

    Its ``objective`` says of what network that is: silenced, as the mask leaves it, or compensated, with its weights re-fitted as well.
    """

    @property
    def objective(self) -> str:
        """One of ``OBJECTIVES``."""

    def refine(self, problem: PruningProblem, start: Solution, log: EvaluationLog, seed: int) -> Solution:
        """Return a feasible mask that is at least as good as ``start`` on the metric, which the log measures and counts."""


class Choose(Protocol):
    """Chooses filters of a trained network as a run does."""

    def __call__(self, dense: nn.Module, splits: Splits, seed: int, scorer: Scorer | None = None) -> tuple[Layout, Bools]:
        """The filters, and the (n,) mask of the run's scorer, or of another one, with the run's solver and budget."""


class Transfer(Protocol):
    """Whether filters that were chosen on the run's images serve others as well."""

    def check(self, data: Data) -> None:
        """Raise UserError where one network cannot take the run's images and the others; nothing is read."""

    def load(self, model: nn.Module, seed: int) -> Splits | None:
        """Read the other images and refuse those that the network does not take; None where there are none."""

    def compare(
        self, build: Callable[[], nn.Module], choose: Choose, source: Splits, target: Splits | None, seed: int, device: torch.device
    ) -> Iterator[Retrained]:
        """Train fresh networks that keep the filters chosen on ``source``, and those that they are compared with, on ``target``."""
