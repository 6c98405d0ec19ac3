"""``qprune train``: train a dense network, or go on with a training that was stopped."""

from functools import partial
from pathlib import Path
from typing import Any

from qprune_cli.command.arguments import folder_option

HELP = """\
  qprune train [overrides]           train a dense network       qprune train experiment=train_half_unet
  qprune train --resume FOLDER       go on with a training that was stopped, exactly where it was
"""
CONFIG = "train"


def run(argv: list[str]) -> int:
    """Compose the trainings that the arguments ask for, or take one that was stopped, and do them.

    Raises:
        UserError: something in the arguments is wrong, before anything is written.
    """
    from qprune_cli.compose.launch import launch

    argv, stopped = folder_option(argv, "--resume")
    return launch(CONFIG, argv, partial(prepare, stopped=stopped), start, stopped)


def prepare(job: Any, stopped: Path | None) -> Any:
    """Turn a composed job into a ``TrainPlan``.

    Args:
        job: settings that are composed.
        stopped: folder of a stopped training to go on with.

    Raises:
        UserError: a setting is wrong.
    """
    from qprune_cli.run.plan import TrainPlan

    return TrainPlan.of(job, stopped)


def start(plan: Any) -> None:
    """Carry out a plan of ``prepare``."""
    from qprune_cli.run.train import train

    train(plan)
