"""Fine-tuning: the smaller network is trained on, alone or with the dense one as its teacher."""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qprune_cli.errors import UserError, nearest
from qprune_cli.train.adamw import AdamW, Diverged
from qprune_cli.train.distill import Distillation, FindAlike
from qprune_cli.train.mode import TrainingMode, outputs_alone
from qprune_cli.train.schedule import check_precision, check_schedule
from qprune_cli.train.state import Progress
from qprune_cli.train.tuned import OnProgress, Tuned
from qprune_cli.types import Splits

BATCHNORM = ("frozen", "train")


@dataclass(frozen=True)
class Adam:
    """Train on with the loop of ``qprune train``: AdamW, warm-up, a cosine down to zero, averaged weights, best validation.

    The weights that it begins with count as well, so validation never gets worse. Validation is on the refinement images, which masks
    were tuned on where they were refined; test images are never seen.

    Args:
        steps: number of updates; where the network is pruned in rounds, each round has an equal share of them.
        batch: crops per update.
        crop: side of a crop in pixels; labelled images are taken whole.
        loss: charbonnier, l1 or psnr; cross_entropy for images with labels.
        lr: highest learning rate.
        warm_up: share of the steps in which the learning rate rises.
        weight_decay: AdamW's decoupled weight decay.
        clip: largest norm of the gradient.
        average: decay of the averaged weights; 0 for none.
        precision: of the forward pass: float32, bfloat16 or float16 (CUDA only).
        validate_every: steps between two validations.
        patience: stop after so many validations without a better one; 0 to run all steps.
        bn: frozen keeps the running statistics of BatchNorm and uses them, train measures them anew; scale and shift are trained in both.
        teacher: share of the target that is the dense network's output, in [0, 1]; 0 for no teacher.
        temperature: that soft labels of classifiers are compared at.
        features: weight of what the kept filters gave in the dense network; 0 for none.
        dense: train the dense network as long as well, which says what the steps are worth without any pruning.

    References:
        Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019, arXiv:1711.05101. With a teacher: Hinton, Vinyals, Dean,
        "Distilling the knowledge in a neural network", 2015, arXiv:1503.02531. With its features: Romero et al., "FitNets: hints for thin
        deep nets", ICLR 2015, arXiv:1412.6550.
    """

    steps: int
    batch: int
    crop: int
    loss: str
    lr: float
    warm_up: float
    weight_decay: float
    clip: float
    average: float
    precision: str
    validate_every: int
    patience: int
    bn: str
    teacher: float
    temperature: float
    features: float
    dense: bool

    def __post_init__(self) -> None:
        check_schedule("finetune", self)
        if self.bn not in BATCHNORM:
            raise UserError(f"finetune.bn={self.bn}: no such mode; {nearest(self.bn, BATCHNORM)}")
        if not 0 <= self.teacher <= 1:
            raise UserError(f"finetune.teacher={self.teacher}: give the share of the target that is the dense network's, in [0, 1]")
        if not 0 <= self.features < float("inf"):
            raise UserError(f"finetune.features={self.features}: give a number, at least 0")
        if not 0 < self.temperature < float("inf"):
            raise UserError(f"finetune.temperature={self.temperature}: give a positive number; 1 leaves the labels as they are")

    @property
    def losses(self) -> tuple[str, ...]:
        """The one loss that networks are trained with, which the images have to fit."""
        return (self.loss,)

    def check(self, device: torch.device) -> None:
        """Refuse a precision that a device cannot compute in.

        Raises:
            UserError: float16 without CUDA.
        """
        check_precision("finetune", self.precision, device)

    def ready(self, splits: Splits) -> None:
        """Refuse training images that are smaller than a crop.

        Raises:
            UserError: an image is too small.
        """
        splits.train.check(self.crop)

    def share(self, part: int, parts: int) -> "Adam":
        """The same training with the steps of one of ``parts`` parts (``part`` counts from 1), which differ by one step at most."""
        steps = self.steps * part // parts - self.steps * (part - 1) // parts
        return replace(self, steps=max(1, steps))

    @property
    def dense_control(self) -> Mapping[str, Any]:
        """All settings that the same training of the dense network depends on; empty where ``dense`` is false."""
        return asdict(self) if self.dense else {}

    def fit(
        self, model: nn.Module, teacher: nn.Module, alike: FindAlike, splits: Splits, seed: int, checkpoint: Path, on_progress: OnProgress
    ) -> Tuned:
        """Train a copy of a network on.

        Args:
            model: the network; it is left as it is.
            teacher: the dense network.
            alike: finds the filters that both have, by layer; called only with ``features`` above 0.
            splits: crops come from ``train``, validation from ``refinement``.
            seed: draws the crops.
            checkpoint: file of the state; where it exists, training goes on from it.
            on_progress: is called with every row of the record.

        Returns:
            The network with the weights that validated best, in evaluation mode.

        Raises:
            UserError: the state is damaged or cannot be written; the training diverged before its first validation.
        """
        shared = {field.name: getattr(self, field.name) for field in fields(AdamW) if field.name not in ("compile", "seed")}
        training = AdamW(**shared, compile=False, seed=seed)
        student, fixed_teacher = copy.deepcopy(model), copy.deepcopy(teacher).eval()
        rows, diverged = list[Progress](), ""
        distilled = self.teacher > 0 or self.features > 0
        common = alike() if self.features > 0 else {}
        objective = Distillation(fixed_teacher, self.teacher, self.temperature, self.features, common) if distilled else outputs_alone
        mode = TrainingMode("finetune", "fine-tune", objective, frozen_batchnorm=self.bn == "frozen", warm_start=True)
        try:
            for row in training.fit(student, splits, checkpoint, mode):
                rows.append(row)
                on_progress(row)
        except Diverged as error:
            if not rows:  # already the network that it begins with
                raise
            diverged = str(error)
        return Tuned(student.eval(), self._notes(rows, diverged))

    def _notes(self, rows: list[Progress], diverged: str) -> dict[str, Any]:
        best = max(rows, key=lambda row: row.value)
        ended = f"nothing better after {self.patience} more validations" if rows[-1].step < self.steps else "all steps done"
        return {
            "steps": rows[-1].step,
            "start": rows[0].value,
            "best": {"step": best.step, "value": best.value},
            "stopped": diverged or ended,
            "diverged": bool(diverged),
        }
