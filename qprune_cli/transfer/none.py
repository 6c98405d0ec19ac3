"""No transfer: no network is trained on other images."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from qprune_cli.types import Retrained, Splits


@dataclass(frozen=True)
class NoTransfer:
    """A run ends with its own images."""

    def check(self, data: object) -> None:
        """Accept every data set of the run."""

    def load(self, model: nn.Module, seed: int) -> None:
        """Read nothing, as there are no other images."""

    def compare(self, build: object, choose: object, source: Splits, target: None, seed: int, device: torch.device) -> Iterator[Retrained]:
        """Train nothing and yield no network."""
        return iter(())
