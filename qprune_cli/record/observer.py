"""Writes the files of a run folder as the stages of the run end, so that a run that is stopped leaves what it has done."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from numpy.typing import NDArray
from torch import nn

from qprune_cli.evaluate.task import Task
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.record.crops import write_crop
from qprune_cli.record.finetuning import remove_states, state_file, write_epochs
from qprune_cli.record.folder import Folder
from qprune_cli.record.manifest import manifest
from qprune_cli.record.metrics import write_metrics
from qprune_cli.record.plan import write_plan
from qprune_cli.record.program import write_program
from qprune_cli.record.provenance import mask_digest
from qprune_cli.record.refinement import save_state, saved_state, write_refinement
from qprune_cli.record.solution import write_compensation, write_mask, write_problem, write_scores, write_solution
from qprune_cli.record.transfer import transfer_table, write_transfer
from qprune_cli.scores import Scores
from qprune_cli.search.evaluations import EvaluationLog
from qprune_cli.types import Bools, Floats, Layout, Pair, Quality, Retrained, Solution, Stage
from qprune_cli.weights.checkpoint import save_weights, weights_digest

LOG = logging.getLogger("qprune_cli")
MASK_FILE = "mask.npz"
Rows = Sequence[Mapping[str, Any]]


class RunFiles:
    """The files of one run.

    Args:
        folder: where they go.
        config: the complete settings, as config.yaml holds them.
        layout: the n filters.
    """

    def __init__(self, folder: Folder, config: Mapping[str, Any], layout: Layout) -> None:
        self.folder, self.config, self.layout = folder, config, layout
        self.digests: dict[str, str] = {}  # of mask and dense weights
        self.transfer = ""  # its table
        folder.text("config.yaml", yaml.safe_dump(config, sort_keys=False))

    def solved(self, problem: PruningProblem, scores: Scores, solution: Solution, rounds: Rows, fidelity: Mapping[str, Any]) -> None:
        """Write scores.npz, problem.npz, solution.json, and the solver's mask."""
        write_scores(self.folder, scores)
        write_problem(self.folder, problem)
        write_solution(self.folder, problem, scores, solution, rounds, fidelity)
        write_mask(self.folder, self.layout, solution.keep)

    def saved_refinement(self) -> Mapping[str, NDArray[Any]] | None:
        """Read refinement.npz, which a refinement that was stopped has left."""
        return saved_state(self.folder, self.layout)

    def refining(self, log: EvaluationLog) -> None:
        """Write the best mask so far, and refinement.npz."""
        save_state(self.folder, self.layout, log)

    def refined(self, solved: Solution, refined: Solution, trace: Rows) -> None:
        """Write the refined mask, refinement.json and trace.csv."""
        write_refinement(self.folder, self.layout, solved, refined, trace)

    def compensated(self, notes: Mapping[str, Any]) -> None:
        """Write compensation.csv, where weights were fitted anew."""
        write_compensation(self.folder, notes)

    def training_state(self, network: str, round_number: int) -> Path:
        """The file for the state of a training, which goes when the run is complete."""
        return self.folder.path / state_file(network, round_number)

    def trained(self, rows: Rows) -> None:
        """Write epochs.csv anew, with all rows."""
        write_epochs(self.folder, rows)

    def measured(self, metrics: Mapping[str, Any], identity: Quality, stages: Mapping[str, Stage]) -> None:
        """Write metrics.json, metrics.csv and images.csv."""
        write_metrics(self.folder, metrics, identity, stages)

    def pictured(self, name: str, pair: Pair, results: Mapping[str, Floats]) -> None:
        """Write the picture crops/NAME.png of one test image."""
        write_crop(self.folder, name, pair, results)

    def built(self, dense: nn.Module, small: nn.Module, keep: Bools, shape: tuple[int, ...], any_size: bool) -> None:
        """Write plan.json, model.safetensors and model.pt2 of the smaller network that an (n,) mask leaves."""
        self.digests = {"mask": mask_digest(keep), "weights": weights_digest(dense)}
        write_plan(self.folder, self.config, self.layout, keep, self.digests, small)
        with self.folder.complete("model.safetensors") as path:
            save_weights(small, path, {})
        write_program(self.folder, small, shape, any_size)

    def transferred(self, task: Task, rows: Sequence[Retrained]) -> None:
        """Write transfer.csv and transfer.json, where there are rows."""
        write_transfer(self.folder, task, rows)
        self.transfer = transfer_table(task, rows)

    def stopped(self) -> None:
        """Say how to go on with a run that the user has interrupted."""
        best = f" ({MASK_FILE} there holds the best mask so far)" if (self.folder.path / MASK_FILE).is_file() else ""
        LOG.warning("stopped; go on with `qprune run --resume %s`%s", self.folder.path, best)

    def manifest(self, device: object, seconds: Mapping[str, float], missed: str, recalled: Sequence[str]) -> dict[str, Any]:
        """Put together what manifest.json holds.

        Args:
            device: that the run computed on.
            seconds: of each stage.
            missed: how the target was missed; empty where it was met.
            recalled: results of earlier runs that were taken from the cache.
        """
        return manifest(self.folder, self.config["seed"], device, seconds, self.digests, missed=missed, cache=recalled)

    def complete(self, entries: Mapping[str, Any]) -> None:
        """Write manifest.json, the last file, and delete the states of trainings."""
        self.folder.json("manifest.json", entries)
        remove_states(self.folder)
