"""The state of a training at one step, saved in one safetensors file, so that a training that was killed goes on exactly."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from qprune_cli.atomic import whole_file
from qprune_cli.errors import UserError
from qprune_cli.types import Measure


class Progress(NamedTuple):
    """One row of the training record: mean loss since the last row, and the mean of the task's primary measure on validation images.

    Before the first step there is no loss.
    """

    step: int
    lr: float
    loss: float | None
    value: float

    def text(self, measure: Measure) -> str:
        """The row as a line of a log.

        Example:
            >>> Progress(5, 0.1, 0.25, 30.0).text(Measure("psnr", "PSNR", "dB", 2, 11))
            'step 5: loss 0.25000, validation 30.00 dB'
        """
        loss = "" if self.loss is None else f"loss {self.loss:.5f}, "
        return f"step {self.step}: {loss}validation {measure.text(self.value)}"

    def entries(self, measure: Measure) -> dict[str, float | None]:
        """The row for a table, by column and without the step; the column of the measure has its name."""
        return {"lr": self.lr, "loss": self.loss, measure.name: self.value}


@dataclass
class State:
    """What changes while a network trains.

    Attributes:
        model: the network that the optimiser moves.
        averaged: exponential moving average of its weights, which is what gets validated; None to validate the network.
        optimizer: holds the moments.
        scaler: keeps float16 gradients in range; does nothing in other precisions.
        rows: the record so far.
        best: the weights that validated best.
        step: updates done.
        losses: of the updates since the last row.
    """

    model: nn.Module
    averaged: AveragedModel | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    rows: list[Progress] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    losses: list[Tensor] = field(default_factory=list)

    @staticmethod
    def fresh(model: nn.Module, optimizer: torch.optim.Optimizer, decay: float, scaled: bool) -> "State":
        """The state before the first step.

        Args:
            model: network with its first weights.
            optimizer: over its parameters.
            decay: of the moving average; 0 for none.
            scaled: whether gradients need scaling (float16).
        """

        def average(averages: Sequence[Tensor], values: Sequence[Tensor], count: Tensor | int) -> None:
            sooner = (1 + float(count)) / (10 + float(count))  # the first weights are soon forgotten
            torch._foreach_lerp_(list(averages), list(values), 1 - min(decay, sooner))

        averaged = AveragedModel(model, multi_avg_fn=average) if decay else None
        device = next(model.parameters()).device.type
        return State(model, averaged, optimizer, torch.amp.GradScaler(device, enabled=scaled))

    @property
    def validated(self) -> nn.Module:
        """The network that is validated and becomes the result: the averaged one where there is one."""
        return self.averaged.module if self.averaged else self.model

    @property
    def stale(self) -> int:
        """Number of validations since the best one; 0 where the last is the best."""
        values = [row.value for row in self.rows]
        return len(values) - 1 - values.index(max(values))

    def add(self, row: Progress) -> None:
        """Append a validation to the record; where none was better, its weights become the best ones."""
        self.rows.append(row)
        if self.stale == 0:
            self.best = {name: tensor.detach().clone() for name, tensor in self.validated.state_dict().items()}

    def save(self, path: Path) -> None:
        """Write the state; the file has its name only when it is complete, so a kill at any time leaves a good one.

        Raises:
            UserError: it cannot be written; an earlier state stays as it was.
        """
        tensors = {f"best.{name}": tensor for name, tensor in self.best.items()}
        for part, module in self._modules().items():
            tensors |= {f"{part}.{name}": tensor for name, tensor in module.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in moments.items()}
        since = [float(loss) for loss in self.losses]
        plain = {"rows": [list(row) for row in self.rows], "scaler": self.scaler.state_dict(), "step": self.step, "losses": since}
        whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        try:
            with whole_file(path) as temporary:
                temporary.write_bytes(save(whole, {"state": json.dumps(plain)}))
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error}); make room, then go on with --resume {path.parent}") from error

    def load(self, path: Path) -> None:
        """Take over a saved state, in place.

        Raises:
            UserError: the file is damaged, or of another network.
        """
        try:
            tensors = load_file(path)
            with safe_open(path, "pt") as file:
                plain = json.loads(file.metadata()["state"])
            for part, module in self._modules().items():
                module.load_state_dict(_below(part, tensors))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            why = " ".join(str(error).split())[:200]
            raise UserError(f"{path}: not the state of this training ({why}); start anew without --resume") from error
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimizer", tensors).items():
            number, key = name.split(".")
            moments.setdefault(int(number), {})[key] = tensor
        self.optimizer.load_state_dict({"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.scaler.load_state_dict(plain["scaler"])
        self.rows = [Progress(*row) for row in plain["rows"]]
        self.best = _below("best", tensors)
        self.step = plain["step"]
        self.losses = [torch.tensor(loss, device=next(self.model.parameters()).device) for loss in plain["losses"]]

    def _modules(self) -> dict[str, nn.Module]:
        averaged: dict[str, nn.Module] = {"averaged": self.averaged} if self.averaged else {}
        return {"model": self.model} | averaged


def _below(part: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Entries whose name starts with a part, without it."""
    return {name.removeprefix(f"{part}."): tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}
