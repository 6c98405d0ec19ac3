"""Transfer of masks: whether filters that were chosen on some images serve others as well."""

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from torch import nn

from qprune_cli.errors import UserError
from qprune_cli.evaluate.task import task_of
from qprune_cli.surgery.shrink import shrink
from qprune_cli.train.adamw import AdamW
from qprune_cli.types import FITTING, Bools, Layout, Retrained, Splits

LOG = logging.getLogger("qprune_cli")
RESERVED = ("transferred", "dense", "own")  # names of rows that are no baseline
VALIDATIONS = 10  # in each training
AVERAGE = 0.99  # decay of the averaged weights


@dataclass(frozen=True)
class Retrain:
    """Keep a mask and the initialisation, and train on other images.

    For each seed a network is initialised and trained on the images of the run; scorer, solver and budget of the run choose its
    filters, neither refined nor compensated. The same initialisation, without the filters that were dropped, is then trained on the
    other images. It is compared with the dense network, with masks of other scorers in the same budget, and with the mask that
    the run's scorer and solver choose on the other images. All trainings of a seed see the same batches.

    Args:
        seeds: number of initialisations.
        steps: updates of each training.
        batch: images per update.
        crop: side of a crop in pixels; labelled images are taken whole.
        lr: highest learning rate.
        weight_decay: AdamW's decoupled weight decay.
        data: where the other images come from; they have to fit the network as those of the run do.
        baselines: scorers whose masks are compared, scored on the run's images and solved as the run is.

    References:
        ElAraby, Wolf, Carvalho, "Identifying critical neurons in ANN architectures using mixed integer programming", 2020,
        arXiv:2002.07259. Frankle, Carbin, "The lottery ticket hypothesis", ICLR 2019, arXiv:1803.03635.
    """

    seeds: int
    steps: int
    batch: int
    crop: int
    lr: float
    weight_decay: float
    data: Any = field(default=None, metadata={"component": "data"})
    baselines: tuple[Any, ...] = field(default=(), metadata={"group": "scorer"})

    def __post_init__(self) -> None:
        for name in ("seeds", "steps", "batch", "crop"):
            if getattr(self, name) < 1:
                raise UserError(f"transfer.{name}={getattr(self, name)}: give a whole number, at least 1")
        for name, in_range, allowed in (
            ("lr", self.lr > 0, "a positive number"),
            ("weight_decay", self.weight_decay >= 0, "a number, at least 0"),
        ):
            if not in_range or not getattr(self, name) < float("inf"):
                raise UserError(f"transfer.{name}={getattr(self, name)}: give {allowed}")
        for name in (names := [_row_name(scorer) for scorer in self.baselines]):
            if names.count(name) > 1 or name in RESERVED:
                raise UserError(f"transfer.baselines: two rows would be called {name}; name each scorer once")

    def check(self, data: object) -> None:
        """Refuse other images that one network cannot take as well as those of the run; nothing is read.

        Raises:
            UserError: they are for another task, or have other channels, another side or other classes.
        """
        task, instead = task_of(data), "take other images with data@transfer.data=NAME"
        if task_of(self.data) is not task:
            raise UserError(f"transfer.data: has {task_of(self.data).data_has}, and the run's images have {task.data_has}; {instead}")
        for name in FITTING:
            wanted, given = (getattr(part, name, None) for part in (data, self.data))
            if wanted != given and wanted is not None and given is not None:
                raise UserError(
                    f"transfer.data.{name}={given}: the run's images have {wanted}; set transfer.data.{name}={wanted}, or {instead}"
                )

    def load(self, model: nn.Module, seed: int) -> Splits:
        """Read the images that the transfer goes to.

        Args:
            model: a network that takes the images of the run.
            seed: draws the calibration images.

        Raises:
            UserError: they cannot be read, or do not fit the network.
        """
        target: Splits = self.data.load(seed)
        task_of(target).refuse_unfit(model, (target.calibration, target.refinement, target.test))
        target.train.check(self.crop)
        return target

    def compare(
        self,
        build: Callable[[], nn.Module],
        choose: Callable[..., tuple[Layout, Bools]],
        source: Splits,
        target: Splits,
        seed: int,
        device: torch.device,
    ) -> Iterator[Retrained]:
        """Train all networks, one initialisation after another.

        Args:
            build: makes the network with fresh weights.
            choose: the filters of a trained network and the mask of the run's scorer, or of another one (see ``Choose``).
            source: the images of the run.
            target: the other images.
            seed: of the first initialisation.
            device: to compute on.

        Yields:
            The networks trained on ``target``: for each seed the mask that was transferred, those of the baselines, the dense network,
            and the mask that was chosen on the other images (``own``).

        Raises:
            UserError: a loss is not finite.
        """
        source.train.check(self.crop)
        for number in range(seed, seed + self.seeds):
            torch.manual_seed(number)
            initial = build().to(device).eval()
            LOG.info("transfer, seed %d (%d of %d): training on the images of the run", number, number - seed + 1, self.seeds)
            trained, _ = self.fit(initial, source, number)
            layout, keep = choose(trained, source, number)
            masks = {"transferred": keep} | {_row_name(scorer): choose(trained, source, number, scorer)[1] for scorer in self.baselines}
            for name, mask in masks.items():
                yield self.measured(name, *self.fit(ticket(initial, layout, mask), target, number), target, number, int(mask.sum()))
            dense, seconds = self.fit(initial, target, number)
            yield self.measured("dense", dense, seconds, target, number, layout.n)
            layout, keep = choose(dense, target, number)
            yield self.measured("own", *self.fit(ticket(initial, layout, keep), target, number), target, number, int(keep.sum()))

    def fit(self, initial: nn.Module, splits: Splits, seed: int) -> tuple[nn.Module, float]:
        """Train a copy of a network; returns it in evaluation mode, and the seconds that training took.

        Raises:
            UserError: the loss is not finite.
        """
        loss = getattr(self.data, "loss", "charbonnier")
        validate_every = max(1, self.steps // VALIDATIONS)
        training = AdamW(
            *(
                self.steps,
                self.batch,
                self.crop,
                loss,
                self.lr,
                0.05,
                self.weight_decay,
                1.0,
                AVERAGE,
                "float32",
                False,
                validate_every,
                0,
                seed,
            )
        )
        model, start = copy.deepcopy(initial), perf_counter()
        with TemporaryDirectory() as folder:
            for _ in training.fit(model, splits, Path(folder) / "training.safetensors"):
                pass
        return model, perf_counter() - start

    def measured(self, name: str, model: nn.Module, seconds: float, target: Splits, seed: int, filters: int) -> Retrained:
        """Measure a network on the test images of ``target``, and log the row.

        Args:
            name: of the row: whose mask the network has.
            model: the network.
            seconds: that its training took.
            target: the other images.
            seed: of its initialisation.
            filters: that it keeps.
        """
        task = task_of(target)
        value = float(task.quality(model, target.test).primary.mean())
        row = Retrained(seed, name, value, filters, sum(p.numel() for p in model.parameters()), seconds)
        LOG.info("transfer, seed %d: %s, %s parameters, %s in %.1f s", seed, name, f"{row.params:,}", task.primary.text(value), seconds)
        return row


def ticket(initial: nn.Module, layout: Layout, keep: Bools) -> nn.Module:
    """The lottery ticket of an (n,) mask: the initialisation without the dropped filters, which no training can bring back."""
    return shrink(initial, layout, keep)


def _row_name(scorer: object) -> str:
    """Name of the row of a baseline: the module of its scorer."""
    return type(scorer).__module__.rpartition(".")[2]
