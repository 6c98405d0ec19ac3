"""No fine-tuning."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qprune_cli.train.distill import AlikeIn
from qprune_cli.train.tuned import OnProgress, Tuned
from qprune_cli.types import Splits


@dataclass(frozen=True)
class NoFineTune:
    """The weights stay as they are."""

    @property
    def losses(self) -> tuple[str, ...]:
        """No loss, as nothing is trained."""
        return ()

    def check(self, device: torch.device) -> None:
        """It asks for nothing."""

    def ready(self, splits: Splits) -> None:
        """It takes all images."""

    def share(self, part: int, parts: int) -> "NoFineTune":
        """Nothing, in parts."""
        return self

    def fit(
        self, model: nn.Module, teacher: nn.Module, alike: AlikeIn, splits: Splits, seed: int, checkpoint: Path, on_progress: OnProgress
    ) -> Tuned:
        """Leave a network as it is."""
        return Tuned(model)

    @property
    def dense_control(self) -> Mapping[str, Any]:
        """The dense network is not trained either."""
        return {}
