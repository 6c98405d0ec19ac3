"""What a search judges networks by: the refinement images.

Neither scores nor the reported test share any of them; only ``compensate=ridge`` asks them whether its re-fit is taken.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from qprune_cli.device import pick_device
from qprune_cli.errors import UserError
from qprune_cli.evaluate.task import Task, task_of
from qprune_cli.run.plan import RunPlan
from qprune_cli.types import ImageSet, final_stage
from qprune_cli.use.load import load_run


@dataclass(frozen=True)
class Worth:
    """What a network is worth, and what it costs.

    Attributes:
        held_out: mean of the primary measure over the refinement images, such as a PSNR in dB.
        macs: multiply-accumulates.
        share: of those of the dense network.
        test: mean of the primary measure over the test images.
        low: lower end of its 95 % interval.
        high: upper end.
    """

    held_out: float
    macs: int
    share: float
    test: float
    low: float
    high: float

    @property
    def plain(self) -> dict[str, Any]:
        """The numbers by the names of the attributes, as the study keeps them."""
        return asdict(self)


class Judge:
    """Measures networks on the refinement images of one plan; they are loaded when the first network comes.

    Args:
        plan: whose data and dense network every trial has.
    """

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.task: Task = task_of(plan.data)

    @cached_property
    def images(self) -> ImageSet:
        """The refinement images, on which networks are judged."""
        return self.plan.data.load(self.plan.settings.seed).refinement

    def held_out(self, network: nn.Module) -> float:
        """Mean of the primary measure over the refinement images, on the device of the plan."""
        device = pick_device(self.plan.settings.device)
        return float(self.task.quality(network.to(device), self.images).primary.mean())

    def smaller(self, folder: Path) -> Worth:
        """Judge the smaller network of a finished run.

        Raises:
            UserError: the run is damaged, or gives values that are not finite.
        """
        run = load_run(folder)
        worth = self._worth(self.held_out(run.model), run.metrics, final_stage(run.metrics["stages"]))
        if not np.isfinite(worth.held_out):
            raise UserError(f"{folder}: its network gives values that are not finite; take other settings")
        return worth

    def dense(self, folder: Path) -> Worth:
        """Judge the dense network; what it does on the test images is in the folder of a finished run."""
        return self._worth(self.held_out(self.plan.model.load()), load_run(folder).metrics, "dense")

    def _worth(self, held_out: float, metrics: dict[str, Any], name: str) -> Worth:
        """Put the held-out quality beside what the metrics of a run say of the stage with this name."""
        stages = metrics["stages"]
        stage, test = stages[name], stages[name][self.task.primary.name]
        low, high = test["ci95"]
        return Worth(held_out, stage["macs"], stage["macs"] / stages["dense"]["macs"], test["mean"], low, high)
