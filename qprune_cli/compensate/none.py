"""No compensation: the weights that a mask leaves stay as they were trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from qprune_cli.types import Bools, Layout, Splits


@dataclass(frozen=True)
class NoCompensation:
    """Weights stay as they were trained: the protocol of the papers."""

    def fit(
        self, dense: nn.Module, layout: Layout, keep: Bools, splits: Splits, seed: int, before: Bools | None = None
    ) -> tuple[nn.Module, Mapping[str, Any]]:
        """Return the dense network itself, and no notes, at any (n,) mask."""
        return dense, {}
