"""From the jobs of a sweep to their folders, by one of Hydra's launchers."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from qprune_cli.compose.asked import AskedSweep
from qprune_cli.compose.build import Composed
from qprune_cli.compose.jobs import resolved
from qprune_cli.compose.launcher import launcher
from qprune_cli.record.folder import Folder
from qprune_cli.sweep.job import Ended, Job, carry_out, job_name
from qprune_cli.sweep.orphan import end_with
from qprune_cli.sweep.sweep import run_sweep, sweep_name


def sweep(
    command: str,
    config: str,
    extra: str | None,
    asked: AskedSweep,
    plans: Sequence[Any],
    prepare: Callable[[Composed], Any],
    start: Callable[[Any], object],
) -> int:
    """Run the jobs of a sweep in their folders.

    Args:
        command: name of the command.
        config: name of the primary config.
        extra: another folder of configs, searched first.
        asked: the sweep.
        plans: of its jobs, in order.
        prepare: turns composed settings into a plan.
        start: carries out a plan.

    Returns:
        The highest exit code of the jobs.
    """
    names = [job_name(plan) for plan in plans]
    root = plans[0].settings.output_root
    folder = (asked.folder or Path(root) / "sweeps" / sweep_name(asked.title, names)).absolute()
    words = dict(zip(names, asked.overrides, strict=True))
    hydra = [word for word in asked.hydra if not word.startswith("hydra.sweep.dir")] + [f"hydra.sweep.dir='{folder}'"]
    launch = launcher(config, hydra, extra, partial(work, os.getpid(), folder, prepare, start))

    def start_jobs(jobs: Sequence[Job]) -> list[Ended]:
        return launch([words[job.path.name] for job in jobs])

    told = {"command": command, "title": asked.title, "launcher": asked.launcher, "overrides": {name: list(words[name]) for name in words}}
    return run_sweep(folder, [Job(folder / name) for name in words], start_jobs, told)


def work(parent: int, folder: Path, prepare: Callable[[Composed], Any], start: Callable[[Any], object], settings: DictConfig) -> Ended:
    """One job, in whatever process a launcher has put it; ``parent`` is the one that launched it."""
    end_with(parent)
    try:
        plan = prepare(resolved(settings, HydraConfig.get().runtime.choices))
    except Exception as error:
        return Ended.by(error)

    def begin(place: Folder) -> None:
        start(replace(plan, place=place))

    return carry_out(plan, folder / job_name(plan), begin)
