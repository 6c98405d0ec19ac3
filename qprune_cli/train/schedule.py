"""Checks of the settings that trainings have in common: their ranges, and what a device can do."""

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
        section: of the configuration that holds them, for messages.
        settings: has the attributes of ``AdamW``, of which ``seed`` and ``compile`` may be missing.

    Raises:
        UserError: it names the first that is out of range.
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
    for name, valid in (("loss", LOSSES), ("precision", PRECISIONS)):
        if value(name) not in valid:
            raise UserError(f"{section}.{name}={value(name)}: no such {name}; {nearest(value(name), valid)}")


def check_precision(section: str, precision: str, device: torch.device) -> None:
    """Refuse a precision that a device cannot compute in, and warn of one that makes it slow.

    Raises:
        UserError: float16 without CUDA.
    """
    if precision == "float16" and device.type != "cuda":
        raise UserError(f"{section}.precision=float16: needs a CUDA device; take bfloat16 or float32")
    if precision == "bfloat16" and device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        _warn_slow(section)


@cache
def _warn_slow(section: str) -> None:
    """Cached, so that the warning comes once."""
    LOG.warning("%s.precision=bfloat16: this CPU does not know it and takes several times as long; float32 is faster here", section)
