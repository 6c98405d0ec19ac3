"""Hydra's launchers: who runs the jobs of a sweep, how many at once, with how many threads each."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, OmegaConf

from qprune_cli.compose.hydra import launcher_settings, launching, options
from qprune_cli.errors import UserError, nearest

PACKAGES = {  # of launchers that do not come with Hydra
    "joblib": "'qprune[joblib]'",
    "submitit_local": "'qprune[slurm]'",
    "submitit_slurm": "'qprune[slurm]'",
    "ray": "hydra-ray-launcher, in an environment of its own",
}
MOST_JOBS = 1000  # at once on one machine
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def check_launcher(name: str) -> None:
    """Refuse a launcher that is not there; within a Hydra session.

    Raises:
        UserError: what to install, or which there are.
    """
    installed = options("hydra/launcher")
    if name in installed:
        return
    if name in PACKAGES:
        raise UserError(f"hydra/launcher={name}: is not installed; pip install {PACKAGES[name]}")
    raise UserError(f"hydra/launcher={name}: no such launcher; {nearest(name, {*installed, *PACKAGES})}")


def at_once(name: str, settings: DictConfig) -> int | None:
    """How many jobs a launcher runs on this machine at a time; None where others decide.

    Args:
        name: of the launcher.
        settings: its section.

    Raises:
        UserError: a number that makes no sense.
    """
    cores = os.cpu_count() or 1
    if name == "basic":
        return 1
    if name == "joblib":
        jobs = settings.get("n_jobs", -1)
        if not isinstance(jobs, int) or not -cores <= jobs <= MOST_JOBS or jobs == 0:
            raise UserError(
                f"hydra.launcher.n_jobs={jobs}: give the number of jobs at once, up to {MOST_JOBS}, or -1 for all {cores} cores"
            )
        return jobs if jobs > 0 else cores + 1 + jobs
    tasks = settings.get("cpus_per_task")
    if name.startswith("submitit") and tasks is not None and (not isinstance(tasks, int) or tasks < 1):
        raise UserError(f"hydra.launcher.cpus_per_task={tasks}: give the number of cores for each job, at least 1")
    return max(1, cores // int(tasks or 1)) if name == "submitit_local" else None


def launcher(
    config: str, words: Sequence[str], extra: str | None, task: Callable[[DictConfig], Any]
) -> Callable[[Sequence[Sequence[str]]], list[Any]]:
    """What runs jobs, given the overrides of each, and gives their return values.

    Args:
        config: name of the primary config.
        words: overrides of Hydra's own settings.
        extra: another folder of configs, searched first.
        task: what a job does with its settings.
    """

    def launch(jobs: Sequence[Sequence[str]]) -> list[Any]:
        """Run jobs, given the overrides of each."""
        with launching(config, words, extra, task) as (settings, start):
            name, section = launcher_settings(settings)
            size = at_once(name, section)
            step = size if name == "submitit_local" and size else len(jobs)  # which would start all of them at once
            with shared_cores(size):
                batches = [start(jobs[first : first + step], first) for first in range(0, len(jobs), step)]
            return [job.return_value for batch in batches for job in batch]

    return launch


@contextmanager
def shared_cores(jobs: int | None) -> Iterator[None]:
    """Tell processes that start in the block how many threads are theirs, unless the user has said so; nothing where they are alone."""
    unset = [name for name in THREADS if name not in os.environ] if jobs and jobs > 1 else []
    os.environ.update(dict.fromkeys(unset, str(max(1, (os.cpu_count() or 1) // (jobs or 1)))))
    try:
        yield
    finally:
        for name in unset:
            del os.environ[name]


def described(settings: DictConfig) -> dict[str, Any]:
    """What a record of a sweep says of its launcher.

    Args:
        settings: of the sweep, Hydra's own included.

    Returns:
        ``name``, ``at_once`` (see ``at_once``) and the launcher's own ``settings``.

    Raises:
        UserError: a number of jobs that makes no sense.
    """
    name, section = launcher_settings(settings)
    return {"name": name, "at_once": at_once(name, section), "settings": OmegaConf.to_container(section)}
