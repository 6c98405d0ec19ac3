"""The verbs: the protocol of each role, with what every component of that role promises.

Three promises hold for all components. Their results depend on their settings, their arguments and the seed alone, and the same ones give
the same result. They leave their arguments as they are: networks are copied before they are changed. What cannot be done is refused with a
``UserError`` as early as possible.

Shapes use the alphabet of ``types.py``: ``n`` filters, ``N`` samples, ``b`` masks, ``p`` pairs, ``l`` layers. A mask is (n,), True where
a filter stays; images are (C, H, W) float32 in [0, 1].
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
    """Where the images of a run come from.

    Data whose images have labels has further attributes: ``task`` is "classify" (as that of its splits), ``side`` is the height and width
    of its images in pixels, ``classes`` is the number of classes, and ``loss`` = "cross_entropy" becomes the loss of a job that sets none.
    """

    @property
    def channels(self) -> int:
        """Number of channels C of all images: 1 for grey, 3 for colour."""

    def load(self, seed: int) -> Splits:
        """Read the images and split them.

        Args:
            seed: draws the calibration images or crops; the other splits do not depend on it.

        Returns:
            The four disjoint splits.

        Raises:
            UserError: files are missing, damaged or of another kind, or there are too few images.
        """

    def test(self) -> ImageSet:
        """Read the test images alone: the same ones as in ``load``.

        Raises:
            UserError: as for ``load``.
        """


class Model(Protocol):
    """Which network; a classifier has ``task``, ``side`` and ``classes`` as data with labels does.

    Attributes:
        channels: number of channels C of the images that the network takes.
        keep_layers: names or patterns of layers whose filters all stay.
        wrap: names of modules that are taken as black boxes, and kept whole.
    """

    channels: int
    keep_layers: tuple[str, ...]
    wrap: tuple[str, ...]

    @property
    def trained(self) -> bool:
        """Whether the settings name trained weights, so that ``load`` can be called."""

    def build(self) -> nn.Module:
        """Make the network with fresh weights, which are drawn from torch's global generator.

        Raises:
            UserError: the network cannot be made.
        """

    def load(self) -> nn.Module:
        """Make the network with its trained weights, in evaluation mode.

        Raises:
            UserError: no weights are named, or they are missing, damaged, not finite or of another network.
        """


class Scorer(Protocol):
    """How much each filter matters, as a prediction of the loss."""

    def score(
        self, model: nn.Module, layout: Layout, splits: Splits, seed: int, keep: Bools | None = None, dense: nn.Module | None = None
    ) -> Scores:
        """Score all n filters of a trained network at a mask, with the calibration images.

        A kept filter is scored by the rise of the loss when it goes, a dropped one by the rise that its return saves; both by the same
        formula, so that the scores of all filters can be compared.

        Args:
            model: the network, in evaluation mode.
            layout: its n filters.
            splits: scores are computed on ``calibration`` alone.
            seed: the same seed gives the same scores.
            keep: (n,) mask; None keeps all filters.
            dense: the network before any weights were re-fitted; None where that is ``model``.

        Raises:
            UserError: the scorer cannot take this network, or these images.
        """


class Solver(Protocol):
    """Which filters to keep, given a problem in numbers alone."""

    def check(self, problem: PruningProblem) -> None:
        """Check before anything is scored that the solver can take a problem; its scores are not looked at.

        Raises:
            UserError: it cannot take these layers or this budget.
        """

    def solve(self, problem: PruningProblem, seed: int) -> Solution:
        """Find a feasible mask of small damage.

        Args:
            problem: scores and budget.
            seed: the same seed gives the same mask; a time limit may break that.

        Returns:
            The mask, judged by ``problem.judge``.

        Raises:
            UserError: as for ``check``.
        """


class Compensator(Protocol):
    """Re-fits the weights that a mask leaves, without training."""

    def fit(
        self, dense: nn.Module, layout: Layout, keep: Bools, splits: Splits, seed: int, before: Bools | None = None
    ) -> tuple[nn.Module, Mapping[str, Any]]:
        """Fit the weights of a network to the loss of its dropped filters.

        Args:
            dense: the network; it is left as it is.
            layout: its n filters.
            keep: (n,) mask.
            splits: weights are fitted on ``calibration``, and accepted on ``refinement``.
            seed: the same seed gives the same weights.
            before: (n,) mask that the network was trained behind in an earlier round; None where it was trained whole.

        Returns:
            A network of the shape of the dense one, at least as good under the mask on the refinement images, which is ``dense`` itself
            where nothing is better; and a record of the fit, ready for JSON.
        """


class Baselines(Protocol):
    """The methods that a run is compared with; the run measures their masks as it measures its own."""

    def list(self, seed: int) -> Sequence[Baseline]:
        """The baselines of a run, an empty sequence for none.

        Args:
            seed: seed of the run; a baseline carries the seed of its own scorer and solver, which may follow from it.
        """


class FineTune(Protocol):
    """Trains the weights that a mask leaves."""

    @property
    def losses(self) -> tuple[str, ...]:
        """Names of the losses that it trains with, which have to fit the images; empty where nothing is trained."""

    def check(self, device: torch.device) -> None:
        """Check before anything is read that a device can do the training.

        Raises:
            UserError: it cannot, such as float16 on a CPU.
        """

    def ready(self, splits: Splits) -> None:
        """Check that it can be trained on the images.

        Raises:
            UserError: it cannot, such as crops that are larger than an image.
        """

    def share(self, part: int, parts: int) -> "FineTune":
        """The training of one of several rounds.

        Args:
            part: number of the round, from 1.
            parts: number of rounds; the steps of all of them add up to the steps of the whole training.
        """

    @property
    def dense_control(self) -> Mapping[str, Any]:
        """All settings that the same training of the dense network depends on; empty where that control is not wanted."""

    def fit(
        self, model: nn.Module, teacher: nn.Module, alike: FindAlike, splits: Splits, seed: int, checkpoint: Path, on_progress: OnProgress
    ) -> Tuned:
        """Train a copy of a network.

        Args:
            model: the network, dense or smaller; it is left as it is.
            teacher: the dense network.
            alike: returns by layer the filters that both networks have; only called where the training compares them.
            splits: crops come from ``train``, validation images from ``refinement``.
            seed: the same seed gives the same weights.
            checkpoint: file of the training's state; where it exists, the training goes on from it.
            on_progress: called with every row of the record, as soon as it is there.

        Returns:
            The network with the weights that validated best, in evaluation mode, at least as good on the refinement images as ``model``;
            ``model`` itself where nothing is trained.

        Raises:
            UserError: a loss is not finite from the start, or the checkpoint is damaged or cannot be written.
        """


class Refiner(Protocol):
    """Tunes a mask on the true metric."""

    @property
    def objective(self) -> str:
        """The network whose metric is tuned, one of ``OBJECTIVES``: silenced by the mask, or compensated, with re-fitted weights."""

    def refine(self, problem: PruningProblem, start: Solution, log: EvaluationLog, seed: int) -> Solution:
        """Search for a better mask.

        Args:
            problem: scores and budget; masks have to be feasible, their damage is a hint alone.
            start: the mask to begin with.
            log: measures masks on the images that are tuned on, counts the evaluations, and holds images back (see ``EvaluationLog``).
            seed: the same seed gives the same mask.

        Returns:
            A feasible mask that is no worse than ``start`` on the refinement images that are tuned on, and no worse on those held out.
        """


class Choose(Protocol):
    """Chooses filters of a trained network as the run does: its scorer, solver and budget."""

    def __call__(self, dense: nn.Module, splits: Splits, seed: int, scorer: Scorer | None = None) -> tuple[Layout, Bools]:
        """Score and solve; nothing is refined, compensated or written.

        Args:
            dense: the trained network.
            splits: its images.
            seed: seed of scorer and solver.
            scorer: another scorer; None for that of the run.

        Returns:
            The n filters of the network, and the (n,) mask.
        """


class Transfer(Protocol):
    """Measures whether filters that were chosen on the run's images serve other images as well."""

    def check(self, data: Data) -> None:
        """Check before anything is read that one network can take the run's images and the other ones.

        Args:
            data: where the run's images come from.

        Raises:
            UserError: task, channels, side or classes differ.
        """

    def load(self, model: nn.Module, seed: int) -> Splits | None:
        """Read the images of the target.

        Args:
            model: a network that takes the run's images.
            seed: draws the calibration images.

        Returns:
            Their splits; None where there is nothing to compare.

        Raises:
            UserError: they cannot be read, or the network does not take them.
        """

    def compare(
        self, build: Callable[[], nn.Module], choose: Choose, source: Splits, target: Splits | None, seed: int, device: torch.device
    ) -> Iterator[Retrained]:
        """Train fresh networks on the other images: with the filters chosen on the run's images, and with those they are compared with.

        Args:
            build: makes the network with fresh weights.
            choose: chooses the filters of a trained network.
            source: the images of the run.
            target: the other images, as ``load`` gave them.
            seed: seed of the first initialisation.
            device: device to compute on.

        Yields:
            The trained networks, measured on the test images of ``target``; none where there is nothing to compare.

        Raises:
            UserError: a loss is not finite.
        """
