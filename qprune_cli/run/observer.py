"""Who hears of the stages of a pruning run as they end; the run itself writes no file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray
from torch import nn

from qprune_cli.evaluate.task import Task
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.record.finetuning import state_file
from qprune_cli.scores import Scores
from qprune_cli.search.evaluations import EvaluationLog
from qprune_cli.types import Bools, Floats, Pair, Quality, Retrained, Solution, Stage

Rows = Sequence[Mapping[str, Any]]


class Observer(Protocol):
    """Hears of every stage once, in this order; ``record.observer.RunFiles`` writes the files of a run folder."""

    def solved(self, problem: PruningProblem, scores: Scores, solution: Solution, rounds: Rows, fidelity: Mapping[str, Any]) -> None:
        """The last round has chosen a mask.

        Args:
            problem: over all n filters.
            scores: what the problem was made of.
            solution: the mask and how the solver found it.
            rounds: one row for each round.
            fidelity: how well the scores predict the loss; empty where nobody asked.
        """

    def saved_refinement(self) -> Mapping[str, NDArray[Any]] | None:
        """What a refinement that was stopped has measured, as ``EvaluationLog.state`` gave it; None where there is none."""

    def refining(self, log: EvaluationLog) -> None:
        """A refinement is at work: its best mask so far, and what a resumed run need not measure again."""

    def refined(self, solved: Solution, refined: Solution, trace: Rows) -> None:
        """A refinement has ended; ``trace`` has one row for each evaluation, and is empty where nothing was refined."""

    def compensated(self, notes: Mapping[str, Any]) -> None:
        """Weights were fitted anew; ``notes`` say how it went, layer by layer."""

    def training_state(self, network: str, round_number: int) -> Path:
        """The file that holds the state of a training while it runs; a training goes on from it where it exists."""

    def trained(self, rows: Rows) -> None:
        """A network is being trained; ``rows`` are all validations so far."""

    def measured(self, metrics: Mapping[str, Any], identity: Quality, stages: Mapping[str, Stage]) -> None:
        """All networks were measured on the test images.

        Args:
            metrics: entries of metrics.json.
            identity: quality of what needs no network.
            stages: by name, in the order of files.
        """

    def pictured(self, name: str, pair: Pair, results: Mapping[str, Floats]) -> None:
        """A test image and the (C, H, W) images that networks made of it."""

    def built(self, dense: nn.Module, small: nn.Module, keep: Bools, shape: tuple[int, ...], any_size: bool) -> None:
        """The smaller network is final.

        Args:
            dense: the network that the run began with.
            small: what the run makes of it.
            keep: (n,) the mask.
            shape: (C, H, W) of an image that both take.
            any_size: whether they take images of other sizes.
        """

    def transferred(self, task: Task, rows: Sequence[Retrained]) -> None:
        """Networks were trained on other images; no rows where that was not wanted."""


class NoFiles:
    """Writes nothing but the states of trainings, which go to a folder that the caller deletes.

    Args:
        folder: for these states.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def solved(self, problem: PruningProblem, scores: Scores, solution: Solution, rounds: Rows, fidelity: Mapping[str, Any]) -> None:
        """Keep no record of the mask."""

    def saved_refinement(self) -> None:
        """None: every refinement begins anew."""

    def refining(self, log: EvaluationLog) -> None:
        """Keep no record of a refinement at work."""

    def refined(self, solved: Solution, refined: Solution, trace: Rows) -> None:
        """Keep no record of a refinement that has ended."""

    def compensated(self, notes: Mapping[str, Any]) -> None:
        """Keep no record of the fitted layers."""

    def training_state(self, network: str, round_number: int) -> Path:
        """A file in the folder that the caller deletes."""
        return self.folder / state_file(network, round_number)

    def trained(self, rows: Rows) -> None:
        """Keep no record of the validations."""

    def measured(self, metrics: Mapping[str, Any], identity: Quality, stages: Mapping[str, Stage]) -> None:
        """Keep no record of the metrics; the caller has them."""

    def pictured(self, name: str, pair: Pair, results: Mapping[str, Floats]) -> None:
        """Draw no picture of the test image."""

    def built(self, dense: nn.Module, small: nn.Module, keep: Bools, shape: tuple[int, ...], any_size: bool) -> None:
        """Save no network of the (n,) mask; the caller has it."""

    def transferred(self, task: Task, rows: Sequence[Retrained]) -> None:
        """Keep no record of a transfer."""
