"""No transfer."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from qprune_cli.types import Retrained, Splits


@dataclass(frozen=True)
class NoTransfer:
    """A run ends with its own images."""

    def check(self, data: object) -> None:
        """It takes every data set."""

    def load(self, model: nn.Module, seed: int) -> None:
        """There is nothing to read."""

    def compare(self, build: object, choose: object, source: Splits, target: None, seed: int, device: torch.device) -> Iterator[Retrained]:
        """Train nothing."""
        return iter(())
