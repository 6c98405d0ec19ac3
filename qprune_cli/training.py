"""Training a dense network from scratch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from qprune_cli.errors import UserError
from qprune_cli.evaluate.quality import mean_psnr
from qprune_cli.types import ImageSet, Splits


class Progress(NamedTuple):
    """One row of the training record: mean loss since the last row, mean validation PSNR in dB."""

    step: int
    lr: float
    loss: float
    psnr: float


def charbonnier(output: Tensor, clean: Tensor) -> Tensor:
    """Smooth L1: mean of ``sqrt(error**2 + 1e-6)`` (Charbonnier et al., 1994)."""
    return ((output - clean).square() + 1e-6).sqrt().mean()


@dataclass(frozen=True)
class Training:
    """AdamW on random crops with fresh noise, Charbonnier loss, linear warm-up, then a cosine down to zero.

    Args:
        steps: number of updates.
        batch: crops per update.
        crop: side of a crop in pixels.
        lr: highest learning rate.
        warm_up: share of the steps in which the learning rate rises.
        weight_decay: AdamW's decoupled weight decay.
        clip: largest norm of the gradient.
        validate_every: steps between two measurements on the refinement split.
        seed: draws the initial weights and the crops.
    """

    steps: int
    batch: int
    crop: int
    lr: float
    warm_up: float
    weight_decay: float
    clip: float
    validate_every: int
    seed: int

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "crop", "validate_every"):
            if getattr(self, name) < 1:
                raise UserError(f"train.{name}={getattr(self, name)}: give a whole number, at least 1")
        for name in ("weight_decay", "seed"):
            if not 0 <= getattr(self, name) < np.inf:
                raise UserError(f"train.{name}={getattr(self, name)}: give a number, at least 0")
        for name in ("lr", "clip"):
            if not 0 < getattr(self, name) < np.inf:
                raise UserError(f"train.{name}={getattr(self, name)}: give a positive number")
        if not 0 <= self.warm_up < 1:
            raise UserError(f"train.warm_up={self.warm_up}: give a share of the steps, in [0, 1)")

    def rate(self, step: int) -> float:
        """Learning rate at a step, as a share of ``lr``."""
        rising = self.warm_up * self.steps
        if step < rising:
            return (step + 1) / (rising + 1)
        return float(0.5 * (1 + np.cos(np.pi * (step - rising) / (self.steps - rising))))

    def fit(self, model: nn.Module, splits: Splits) -> Iterator[Progress]:
        """Train a network in place; yields a row after every ``validate_every`` steps and after the last.

        Args:
            model: the network; its device is used.
            splits: crops come from ``train``, validation from ``refinement``; ``test`` is never touched.

        Raises:
            UserError: the loss is no longer finite.
        """
        rng = np.random.default_rng(self.seed)
        device = next(model.parameters()).device
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth faster on a CPU
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate)
        losses: list[float] = []
        with tqdm(range(1, self.steps + 1), desc="train", unit="step", disable=None) as bar:
            for step in bar:
                crops = splits.train.draw(rng, self.batch, self.crop)
                losses.append(self._update(model.train(), crops, optimizer, device))
                schedule.step()
                if not np.isfinite(losses[-1]):
                    raise UserError(f"the loss is no longer finite at step {step}: lower train.lr (now {self.lr})")
                if step % self.validate_every == 0 or step == self.steps:
                    row = Progress(
                        step,
                        float(schedule.get_last_lr()[0]),
                        float(np.mean(losses)),
                        mean_psnr(model.eval(), splits.refinement, label="validate"),
                    )
                    bar.set_postfix(psnr=f"{row.psnr:.2f}", loss=f"{row.loss:.4f}")
                    losses.clear()
                    yield row
        model.eval()

    def _update(self, model: nn.Module, crops: ImageSet, optimizer: torch.optim.Optimizer, device: torch.device) -> float:
        noisy, clean = (torch.from_numpy(stack).to(device) for stack in next(crops.batches(len(crops))))
        loss = charbonnier(model(noisy), clean)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), self.clip)
        optimizer.step()
        return float(loss.detach())
