"""From the jobs of a sweep to their folders, by one of Hydra's launchers."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from qprune_cli.compose.build import Composed
from qprune_cli.compose.composer import resolved
from qprune_cli.compose.hydra import choices_of_this_job
from qprune_cli.compose.jobs import Sweep
from qprune_cli.compose.launcher import launcher
from qprune_cli.record.folder import Folder
from qprune_cli.sweep.job import Ended, Job, carry_out, job_name
from qprune_cli.sweep.orphan import end_with
from qprune_cli.sweep.sweep import run_sweep, sweep_name


def start_sweep(
    command: str,
    config: str,
    extra: str | None,
    sweep: Sweep,
    plans: Sequence[Any],
    prepare: Callable[[Composed], Any],
    start: Callable[[Any], object],
) -> int:
    """Run the jobs of a sweep in their folders.

    Args:
        command: name of the command.
        config: name of the primary config.
        extra: another folder of configs, searched first.
        sweep: what there is to it beside its jobs.
        plans: of its jobs, in order.
        prepare: turns composed settings into a plan.
        start: carries out a plan.

    Returns:
        The highest exit code of the jobs.

    Raises:
        UserError: the folder cannot be written, or the launcher does not work.
    """
    names = [job_name(plan) for plan in plans]
    root = plans[0].settings.output_root
    folder = (sweep.folder or Path(root) / "sweeps" / sweep_name(sweep.title, names)).absolute()
    words = dict(zip(names, sweep.overrides, strict=True))
    hydra = [word for word in sweep.hydra if not word.startswith("hydra.sweep.dir")] + [f"hydra.sweep.dir='{folder}'"]
    launch = launcher(config, hydra, extra, partial(work, os.getpid(), folder, prepare, start))

    def start_jobs(jobs: Sequence[Job]) -> list[Ended]:
        return launch([words[job.path.name] for job in jobs])

    record = {
        "command": command,
        "title": sweep.title,
        "launcher": sweep.launcher,
        "overrides": {name: list(words[name]) for name in words},
    }
    return run_sweep(folder, [Job(folder / name) for name in words], start_jobs, record)


def work(parent: int, folder: Path, prepare: Callable[[Composed], Any], start: Callable[[Any], object], settings: DictConfig) -> Ended:
    """Do one job, in whatever process a launcher has put it.

    Args:
        parent: number of the process that launched it; the job ends with that.
        folder: of the sweep.
        prepare: turns composed settings into a plan.
        start: carries out a plan.
        settings: of the job, as Hydra composes them.

    Returns:
        What went wrong, if anything did; a job that is missed or busy says so in its folder.
    """
    end_with(parent)
    try:
        plan = prepare(resolved(settings, choices_of_this_job()))
    except Exception as error:
        return Ended.by(error)

    def begin(job_folder: Folder) -> None:
        start(replace(plan, begun=job_folder))

    return carry_out(plan, folder / job_name(plan), begin)
