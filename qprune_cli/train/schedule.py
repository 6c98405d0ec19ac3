"""Settings that trainings have in common: what is in range, and what a device can do."""

import logging
from functools import cache
from typing import Any

import numpy as np
import torch

from qprune_cli.errors import UserError, nearest
from qprune_cli.train.loss import LOSSES

LOG = logging.getLogger("qprune_cli")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def check_schedule(section: str, settings: object) -> None:
    """Refuse settings of a training that are out of range.

    Args:
        section: where they stand, for messages.
        settings: holds those of ``AdamW`` but ``seed`` and ``compile``.

    Raises:
        UserError: it names the first one.
    """

    def value(name: str) -> Any:
        return getattr(settings, name)

    for name in ("steps", "batch", "crop", "validate_every"):
        if value(name) < 1:
            raise UserError(f"{section}.{name}={value(name)}: give a whole number, at least 1")
    for name in ("weight_decay", "patience"):
        if not 0 <= value(name) < np.inf:
            raise UserError(f"{section}.{name}={value(name)}: give a number, at least 0")
    for name in ("lr", "clip"):
        if not 0 < value(name) < np.inf:
            raise UserError(f"{section}.{name}={value(name)}: give a positive number")
    for name, what in (("warm_up", "a share of the steps"), ("average", "the decay of the averaged weights")):
        if not 0 <= value(name) < 1:
            raise UserError(f"{section}.{name}={value(name)}: give {what}, in [0, 1)")
    for name, known in (("loss", LOSSES), ("precision", PRECISIONS)):
        if value(name) not in known:
            raise UserError(f"{section}.{name}={value(name)}: no such {name}; {nearest(value(name), known)}")


def check_precision(section: str, precision: str, device: torch.device) -> None:
    """Refuse what a device cannot do, and say what it does slowly.

    Raises:
        UserError: float16 without CUDA.
    """
    if precision == "float16" and device.type != "cuda":
        raise UserError(f"{section}.precision=float16: needs a CUDA device; take bfloat16 or float32")
    if precision == "bfloat16" and device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        _say_slow(section)


@cache
def _say_slow(section: str) -> None:
    """Once is enough."""
    LOG.warning("%s.precision=bfloat16: this CPU does not know it and takes several times as long; float32 is faster here", section)
