"""The settings at the top level of each command, checked while the configuration is composed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qprune_cli.calibration.loss import check_loss
from qprune_cli.device import pick_device
from qprune_cli.errors import UserError, nearest
from qprune_cli.evaluate.fidelity import FEWEST_SWAPS
from qprune_cli.graph.trace import check_granularity
from qprune_cli.problem.budget import UNITS
from qprune_cli.record.folder import refuse_unwritable
from qprune_cli.record.tensorboard import check_tensorboard

SCOPES = ("global", "layer")
HARMLESS = ("output_root", "latency", "ssim3d", "certify", "cache")  # settings that change no score and no mask


@dataclass(frozen=True)
class RunSettings:
    """The settings at the top level of ``qprune run``; configs/run.yaml says what each means.

    Raises:
        UserError: a value is out of range.
    """

    sparsity: float
    budget: str
    scope: str
    floor: int
    round_to: int
    limits: dict[str, list[int]]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    rounds: int
    certify: bool
    fidelity: int
    granularity: str
    loss: str
    seed: int
    latency: bool
    cache: bool
    ssim3d: bool
    device: str
    output_root: str

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise UserError(f"sparsity={self.sparsity}: give the share of filters to remove, in [0, 1). For 50 % write sparsity=0.5")
        for name, valid in (("budget", UNITS), ("scope", SCOPES)):
            if getattr(self, name) not in valid:
                raise UserError(f"{name}={getattr(self, name)}: no such {name}; {nearest(getattr(self, name), valid)}")
        for name, least in (("floor", 0), ("seed", 0), ("fidelity", 0), ("rounds", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name}={getattr(self, name)}: give a whole number, at least {least}")
        if 0 < self.fidelity < FEWEST_SWAPS:
            raise UserError(f"fidelity={self.fidelity}: so few swaps say nothing; give at least {FEWEST_SWAPS}, or 0 for none")
        for pattern, span in self.limits.items():
            if len(span) != 2 or not 0 <= span[0] <= span[1] or span[1] < 1:
                raise UserError(f"limits: {pattern}: {span}: give the fewest filters and the most, such as [8, 48]")
        if self.round_to < 1:
            raise UserError(f"round_to={self.round_to}: give a whole number, at least 1; 8 or 16 make widths that CPUs compute fast")
        check_loss(self.loss)
        check_granularity(self.granularity)
        check_output(self.device, self.output_root)


@dataclass(frozen=True)
class TrainSettings:
    """The settings at the top level of ``qprune train``; configs/train.yaml says what each means.

    Raises:
        UserError: a value is out of range.
    """

    tensorboard: bool
    ssim3d: bool
    device: str
    output_root: str

    def __post_init__(self) -> None:
        check_output(self.device, self.output_root)
        if self.tensorboard:
            check_tensorboard()


@dataclass(frozen=True)
class EvaluateSettings:
    """The settings at the top level of ``qprune evaluate``.

    Raises:
        UserError: a value is out of range.
    """

    ssim3d: bool
    device: str
    output_root: str

    def __post_init__(self) -> None:
        check_output(self.device, self.output_root)


def check_output(device: str, output_root: str) -> None:
    """Refuse a device that is not there and a folder that cannot be written."""
    pick_device(device)
    for kind in ("runs", "sweeps", "tune", "train", "evaluations"):
        refuse_unwritable(Path(output_root) / kind)


def shaping(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a mask or its quality may depend on, for keys of the cache.

    Args:
        settings: of a run, by name.
    """
    return {name: value for name, value in settings.items() if name not in HARMLESS}
