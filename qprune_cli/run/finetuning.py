"""Training on what a mask leaves: between the rounds of pruning, at the end, and the dense network as long."""

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from qprune_cli.cache.shared import Shared
from qprune_cli.evaluate.task import task_of
from qprune_cli.roles import FineTune
from qprune_cli.run.observer import Observer
from qprune_cli.run.settings import RunSettings
from qprune_cli.surgery.origin import origins
from qprune_cli.surgery.silence import silence
from qprune_cli.train.distill import Alike, FindAlike
from qprune_cli.train.state import Progress
from qprune_cli.train.tuned import Tuned
from qprune_cli.types import Bools, Layout, Quality

LOG = logging.getLogger("qprune_cli")
DENSE, PRUNED = "dense", "pruned"  # whose training a row is of


@dataclass
class Trainings:
    """The trainings of one run, which share a record.

    Attributes:
        method: how networks are trained.
        shared: the dense network, its n filters, its images.
        settings: of the run; its seed draws the crops.
        observer: keeps the states of trainings and hears of every validation.
        rows: of epochs.csv.
        notes: how each training went, by the name of its network, ready for JSON.
    """

    method: FineTune
    shared: Shared
    settings: RunSettings
    observer: Observer
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def between(self, network: nn.Module, keep: Bools, number: int) -> nn.Module:
        """Train a network of the shape of the dense one, silenced at a mask, after a round; the very network where nothing is done.

        Args:
            network: it is left as it is.
            keep: (n,) mask of the round.
            number: of the round, from 1.
        """
        with silence(network, self.shared.layout, keep):
            tuned = self._fit(PRUNED, network, partial(in_place, self.shared.layout, keep), number).model
        if tuned is network:
            return network
        trained = copy.deepcopy(network)  # without what silences it
        trained.load_state_dict(tuned.state_dict())
        return trained

    def last(self, small: nn.Module, keep: Bools) -> nn.Module:
        """Train the smaller network; the very network where nothing is done.

        Args:
            small: it is left as it is.
            keep: (n,) mask that it was made by.
        """

        def alike() -> Mapping[str, Alike]:
            origin = origins(self.shared.dense, self.shared.layout, keep)
            return {name: Alike(np.arange(len(filters)), filters) for name, filters in origin.items()}

        return self._fit(PRUNED, small, alike, self.settings.rounds).model

    def dense_control(self) -> Quality | None:
        """Quality of the dense network after the same training, once for all runs that share it; None where it is not wanted."""
        if not self.method.dense_control:
            return None
        layout, task, earlier = self.shared.layout, task_of(self.shared.splits), len(self.rows)
        volume = self.settings.ssim3d

        def make() -> tuple[Quality, dict[str, Any]]:
            tuned = self._fit(DENSE, self.shared.dense, partial(in_place, layout, np.ones(layout.n, bool)), 0)
            return task.quality(tuned.model, self.shared.splits.test, volume), {"notes": tuned.notes, "rows": self.rows[earlier:]}

        quality, record = self.shared.tuned(dict(self.method.dense_control), self.settings.seed, volume, make)
        self.notes[DENSE] = record["notes"]
        if len(self.rows) == earlier:
            self.rows += record["rows"]
            self.observer.trained(self.rows)
        return quality

    def _fit(self, name: str, network: nn.Module, alike: FindAlike, number: int) -> Tuned:
        """Train a network as a share of what was asked, the dense one in one go."""
        shared, settings, state = self.shared, self.settings, self.observer.training_state(name, number)
        method = self.method if name == DENSE else self.method.share(number, settings.rounds)
        measure, earlier = task_of(shared.splits).primary, len(self.rows)

        def on_progress(row: Progress) -> None:
            whose = {"network": name, "round": number, "epoch": len(self.rows) - earlier, "step": row.step}
            self.rows.append(whose | row.entries(measure))
            self.observer.trained(self.rows)
            LOG.info("fine-tuning, %s network, %s", name, row.text(measure))

        tuned = method.fit(network, shared.dense, alike, shared.splits, settings.seed, state, on_progress)
        if tuned.notes:
            self.notes[name if number in (0, settings.rounds) else f"{name}, round {number}"] = tuned.notes
        return tuned


def in_place(layout: Layout, keep: Bools) -> dict[str, Alike]:
    """Filters that a network of the shape of its teacher has where the teacher has them, by layer.

    Args:
        layout: the n filters.
        keep: (n,) mask; layers without a kept filter are left out.
    """
    masks = {name: np.flatnonzero(mask) for name, mask in layout.masks(keep).items()}
    return {name: Alike(kept, kept) for name, kept in masks.items() if len(kept)}
