"""A sweep: many jobs in one folder, each done once; the same command again goes on where it was stopped."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qprune_cli.compare.compare import write_tables
from qprune_cli.errors import UserError
from qprune_cli.record.folder import LOG_FILE, Folder
from qprune_cli.sweep.job import Ended, Job, State, digest
from qprune_cli.sweep.watch import watched

Launch = Callable[[Sequence[Job]], list[Ended]]
PAUSE = 1.0  # seconds between two looks at jobs whose launcher has given up
KILLED = "its process died before the end: killed, perhaps for want of memory; run.log shows how far it came"


def sweep_name(title: str, jobs: Sequence[str]) -> str:
    """What the folder of a sweep is called: the same jobs, in whatever order they are asked for, have one folder."""
    return f"{title}_{digest(sorted(jobs))}"


def run_sweep(folder: Path, jobs: Sequence[Job], launch: Launch, told: dict[str, Any]) -> int:
    """Do the jobs of a sweep that are not done yet, and write its tables.

    Finished jobs are skipped, failed and killed ones done again; those that another live process holds are left alone.

    Args:
        folder: of the sweep.
        jobs: all of them, each in a folder below that.
        launch: does some of them and says how they ended; it may raise when a process that works for it dies.
        told: what sweep.json says of it.

    Returns:
        The highest exit code of the jobs.

    Raises:
        UserError: the folder cannot be written.
    """
    Folder.at(folder).json("sweep.json", {"schema": 1, **told, "jobs": [job.path.name for job in jobs]})
    states = [job.state for job in jobs]
    counts = ", ".join(f"{states.count(state)} {state.value}" for state in State if state in states and state is not State.OPEN)
    print(f"{folder}: {_jobs(len(jobs))}{f' ({counts})' if counts else ''}", flush=True)
    todo = [job for job, state in zip(jobs, states, strict=True) if state in (State.OPEN, State.FAILED)]
    for job in todo:
        job.forget()
    with watched(todo):
        unwritten = [ended for ended in until_done(todo, launch) if ended.error]
    ends = {job: job.ended for job in jobs}
    if told["command"] == "run":
        print(write_tables(folder))
    for job, ended in ends.items():
        if ended.error:
            print(f"qprune: {job.path / LOG_FILE}: {ended.error}", file=sys.stderr)
        elif job.state is State.BUSY:
            print(f"{job.path.name}: another process is at work on it; repeat the command when it is done", file=sys.stderr)
    left = [ended for ended in unwritten if ended not in ends.values()]
    if left:
        print(f"qprune: {left[0].error}; {_jobs(len(left))} could not be done, the same command goes on with them", file=sys.stderr)
    return max((ended.code for ended in [*ends.values(), *left]), default=0)


def _jobs(count: int) -> str:
    return f"{count} job{'s' if count != 1 else ''}"


def until_done(todo: Sequence[Job], launch: Launch) -> list[Ended]:
    """Launch jobs, and again those that a process that died has left; one that was lost twice has failed.

    Raises:
        Exception: what a launcher raised that lost no job.
    """
    lost: set[Job] = set()
    left = list(todo)
    while left:
        try:
            return launch(left)
        except UserError:
            raise
        except Exception as error:
            while any(job.state is State.BUSY for job in left):  # those that live go on
                time.sleep(PAUSE)
            begun = {job for job in left if job.begun}
            if not begun:
                raise
            print(f"qprune: a process of the sweep died ({type(error).__name__}); going on with the jobs that are left", file=sys.stderr)
            for job in begun & lost:
                job.fail(Ended(1, KILLED))
            lost |= begun
            left = [job for job in left if job.state is State.OPEN]
    return []
