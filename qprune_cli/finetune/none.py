"""No fine-tuning: the weights of the pruned network are the result."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qprune_cli.train.distill import FindAlike
from qprune_cli.train.tuned import OnProgress, Tuned
from qprune_cli.types import Splits


@dataclass(frozen=True)
class NoFineTune:
    """The weights stay as they are."""

    @property
    def losses(self) -> tuple[str, ...]:
        """Empty, as nothing is trained with any loss."""
        return ()

    def check(self, device: torch.device) -> None:
        """Accept every device, as nothing is computed."""

    def ready(self, splits: Splits) -> None:
        """Accept all images, as none is used."""

    def share(self, part: int, parts: int) -> "NoFineTune":
        """Itself: there are no steps to share out."""
        return self

    def fit(
        self, model: nn.Module, teacher: nn.Module, alike: FindAlike, splits: Splits, seed: int, checkpoint: Path, on_progress: OnProgress
    ) -> Tuned:
        """Return the very network, without notes; ``on_progress`` is never called."""
        return Tuned(model)

    @property
    def dense_control(self) -> Mapping[str, Any]:
        """Empty, as the dense network is not trained either."""
        return {}
