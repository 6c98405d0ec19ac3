"""The training loop: it trains a network from scratch, and trains smaller networks on for fine-tuning."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from qprune_cli.errors import UserError
from qprune_cli.evaluate.quality import mean_measure
from qprune_cli.evaluate.task import task_of
from qprune_cli.train.loss import LOSSES
from qprune_cli.train.mode import SCRATCH, TrainingMode
from qprune_cli.train.schedule import PRECISIONS, check_precision, check_schedule
from qprune_cli.train.state import Progress, State
from qprune_cli.types import CropSource, Floats, Splits

AHEAD = 3  # batches that are drawn while the network computes
LOOK = 10  # steps between two looks at the loss: each one makes a GPU wait
SAVE_AFTER = 120.0  # seconds since the state was last saved


class Diverged(UserError):
    """A training whose loss or output is no longer finite."""


@dataclass(frozen=True)
class AdamW:
    """AdamW on random crops with fresh noise, or on labelled images; linear warm-up, then a cosine down to zero; averaged weights.

    The weights that validate best are the result. Every random draw depends on ``seed`` and the number of the step
    alone, so a training that was killed and resumed ends like one that ran through.

    Args:
        steps: number of updates.
        batch: crops per update.
        crop: side of a crop in pixels; labelled images are taken whole.
        loss: charbonnier, l1 or psnr (mean over the images of the log of the MSE); cross_entropy for images with labels.
        lr: highest learning rate.
        warm_up: share of the steps in which the learning rate rises.
        weight_decay: AdamW's decoupled weight decay.
        clip: largest norm of the gradient.
        average: decay of the exponential moving average of the weights; 0 for none.
        precision: float32, bfloat16 or float16 (CUDA only) for the forward pass; weights stay float32.
        compile: let ``torch.compile`` speed up the network; the first step then takes a minute.
        validate_every: steps between two measurements on the refinement split; the state is saved then.
        patience: stop after so many measurements without a better one; 0 to run all steps.
        seed: draws the initial weights and the crops.
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
    compile: bool
    validate_every: int
    patience: int
    seed: int

    def __post_init__(self) -> None:
        check_schedule("train", self)
        if self.seed < 0:
            raise UserError(f"train.seed={self.seed}: give a number, at least 0")

    def rate(self, step: int) -> float:
        """Learning rate of a step (0 is the first), as a share of ``lr``."""
        rising = self.warm_up * self.steps
        if step < rising:
            return (step + 1) / (rising + 1)
        return float(0.5 * (1 + np.cos(np.pi * (step - rising) / (self.steps - rising))))

    def fit(self, model: nn.Module, splits: Splits, checkpoint: Path, mode: TrainingMode = SCRATCH) -> Iterator[Progress]:
        """Train a network in place; yields a row after every ``validate_every`` steps and after the last.

        Args:
            model: the network; its device is used.
            splits: crops come from ``train``, validation (PSNR, or accuracy) from ``refinement``; ``test`` is never touched.
            checkpoint: file of the state, written before each row and every few minutes; where it exists, training goes on from it,
                and the rows that it holds are yielded first.
            mode: what differs from a training from scratch.

        Raises:
            Diverged: loss or output is no longer finite; after a warm start the network then has the best weights.
            UserError: float16 without CUDA; a state of another network.
        """
        device = next(model.parameters()).device
        check_precision(mode.section, self.precision, device)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth faster on a CPU
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        state = State.fresh(model, optimizer, self.average, scaled=self.precision == "float16")
        if checkpoint.is_file():
            state.load(checkpoint)
        yield from state.rows
        try:
            for row in self._rows(state, splits, device, checkpoint, mode) if not self._done(state) else ():
                state.add(row)
                state.save(checkpoint)
                yield row
                if self._done(state):
                    break
        except Diverged:
            if mode.warm_start:
                model.load_state_dict(state.best)
                model.eval()
            raise
        model.load_state_dict(state.best)
        model.eval()

    def _done(self, state: State) -> bool:
        return state.step >= self.steps or (self.patience > 0 and bool(state.rows) and state.stale >= self.patience)

    def _rows(self, state: State, splits: Splits, device: torch.device, checkpoint: Path, mode: TrainingMode) -> Iterator[Progress]:
        """Update and validate by turns, from the step of the state on; yields a row after each validation."""
        network: Callable[[Tensor], Tensor] = torch.compile(state.model) if self.compile else state.model
        task, saved = task_of(splits), monotonic()

        def validated() -> float:
            value = mean_measure(task.primaries, state.validated.eval(), splits.refinement, label="validate")
            if not np.isfinite(value):
                raise Diverged(f"the network's output is no longer finite at step {state.step}: lower {mode.section}.lr (now {self.lr})")
            return value

        if mode.warm_start and not state.rows:
            yield Progress(0, 0.0, None, validated())
        batches = _drawn_ahead(splits.train, self.seed, state.step, self.steps, self.batch, self.crop)
        with tqdm(total=self.steps, initial=state.step, desc=mode.label, unit="step", disable=None) as bar:
            for inputs, targets in batches:
                self._update(state, network, inputs.to(device), targets.to(device), mode)
                bar.update()
                ends = state.step % self.validate_every == 0 or state.step == self.steps
                if (ends or state.step % LOOK == 0) and not torch.isfinite(torch.stack(state.losses)).all():
                    raise Diverged(f"the loss is no longer finite at step {state.step}: lower {mode.section}.lr (now {self.lr})")
                if ends:
                    loss, value, saved = float(torch.stack(state.losses).mean()), validated(), monotonic()
                    state.losses.clear()
                    bar.set_postfix({task.primary.name: task.primary.text(value), "loss": f"{loss:.4f}"})
                    yield Progress(state.step, self.lr * self.rate(state.step - 1), loss, value)
                elif monotonic() - saved > SAVE_AFTER:
                    state.save(checkpoint)
                    saved = monotonic()

    def _update(self, state: State, network: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor, mode: TrainingMode) -> None:
        """One step of the optimiser on a batch."""
        entropy = np.random.SeedSequence([self.seed, state.step + 1]).generate_state(1, np.uint64)
        torch.manual_seed(int(entropy[0]))  # for what is random inside a network
        for group in state.optimizer.param_groups:
            group["lr"] = self.lr * self.rate(state.step)
        mode.ready_(state.model)
        with self._autocast(inputs.device):
            loss = mode.loss(LOSSES[self.loss], network, inputs, targets)
        state.optimizer.zero_grad()
        state.scaler.scale(loss).backward()
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.model.parameters(), self.clip)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.averaged:
            state.averaged.update_parameters(state.model)
        state.losses.append(loss.detach())
        state.step += 1

    def _autocast(self, device: torch.device) -> AbstractContextManager[object]:
        return torch.autocast(device.type, PRECISIONS[self.precision], enabled=self.precision != "float32")


def _drawn_ahead(source: CropSource, seed: int, start: int, stop: int, batch: int, crop: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the steps ``start`` to ``stop``, drawn in another thread, always the same for a step."""

    def draw(step: int) -> tuple[Floats, Floats]:
        return next(source.draw(np.random.default_rng([seed, step]), batch, crop).batches(batch))

    with ThreadPoolExecutor(1) as pool:
        waiting: list[Future[tuple[Floats, Floats]]] = [pool.submit(draw, step) for step in range(start, min(start + AHEAD, stop))]
        for step in range(start, stop):
            inputs, targets = waiting.pop(0).result()
            if step + AHEAD < stop:
                waiting.append(pool.submit(draw, step + AHEAD))
            yield torch.from_numpy(inputs), torch.from_numpy(targets)
