"""The result of fine-tuning, and the callable that hears of its progress."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from qprune_cli.train.state import Progress

OnProgress = Callable[[Progress], None]  # is called with every row of the record, as it comes


@dataclass(frozen=True)
class Tuned:
    """A network after fine-tuning, and how that went.

    Attributes:
        model: with the weights that validated best; the very network that was given where nothing was to be done.
        notes: how it went, ready for JSON: ``steps`` done, why it ``stopped``, the ``best`` step and its value, the value at the ``start``,
            and whether it ``diverged``.
    """

    model: nn.Module
    notes: Mapping[str, Any] = field(default_factory=dict)
