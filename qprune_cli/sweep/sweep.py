"""A sweep: many jobs in one folder, each done once; the same command again goes on where it was stopped."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from qprune_cli.compare.compare import write_tables
from qprune_cli.errors import UserError
from qprune_cli.record.folder import LOG_FILE, Folder
from qprune_cli.report.write import report_of_sweep
from qprune_cli.sweep.job import Ended, Job, State, digest
from qprune_cli.sweep.watch import watched

Launch = Callable[[Sequence[Job]], list[Ended]]
PAUSE = 1.0  # seconds between two looks at jobs whose launcher has given up
KILLED = "its process died before the end: killed, perhaps for want of memory; run.log shows how far it came"


def sweep_name(title: str, jobs: Sequence[str]) -> str:
    """What the folder of a sweep is called: the same jobs, in whatever order they are asked for, have one folder."""
    return f"{title}_{digest(sorted(jobs))}"


def run_sweep(folder: Path, jobs: Sequence[Job], launch: Launch, record: dict[str, Any]) -> int:
    """Do the jobs of a sweep that are not done yet, and write its tables.

    Finished jobs are skipped, failed and killed ones done again; those that another live process holds are left alone.

    Args:
        folder: of the sweep.
        jobs: all of them, each in a folder below that.
        launch: does some of them and returns how they ended; it may raise when a process that works for it dies.
        record: what sweep.json says of it, beside its jobs.

    Returns:
        The highest exit code of the jobs.

    Raises:
        UserError: the folder cannot be written, or the launcher does not work.
    """
    Folder.at(folder).json("sweep.json", {"schema": 1, **record, "jobs": [job.path.name for job in jobs]})
    states = [job.state for job in jobs]
    counts = ", ".join(f"{states.count(state)} {state.value}" for state in State if state in states and state is not State.OPEN)
    print(f"{folder}: {counted(len(jobs))}{f' ({counts})' if counts else ''}", flush=True)
    todo = [job for job, state in zip(jobs, states, strict=True) if state in (State.OPEN, State.FAILED)]
    for job in todo:
        job.forget()
    try:
        with watched(todo):
            unwritten = [ended for ended in until_done(todo, launch) if ended.error]
    except KeyboardInterrupt:
        done = sum(job.state is State.FINISHED for job in jobs)
        print(f"{done} of {counted(len(jobs))} are finished; the same command goes on with the others", file=sys.stderr)
        raise
    ends = [job.ended for job in jobs]
    left = [ended for ended in unwritten if ended not in ends]
    if record["command"] == "run" and any(job.state is State.FINISHED for job in jobs):
        try:
            print(write_tables(folder))
            if page := report_of_sweep(folder):
                print(f"report: {page}")
        except UserError as error:  # no space for them
            left.append(Ended(2, str(error)))
    for line in _trouble(jobs, left):
        print(line, file=sys.stderr)
    return max((ended.code for ended in [*ends, *left]), default=0)


def _trouble(jobs: Sequence[Job], left: Sequence[Ended]) -> Iterator[str]:
    """What a reader should know of jobs that are not finished, a line for each kind."""
    failed = [job for job in jobs if job.ended.error]
    if failed:
        others = f" (and {counted(len(failed) - 1)} more)" if len(failed) > 1 else ""
        yield f"qprune: {failed[0].path / LOG_FILE}{others}: {failed[0].ended.error}"
    if left:
        yield f"qprune: {left[0].error}; {counted(len(left))} could not be done, the same command goes on with them"
    busy = sum(job.state is State.BUSY for job in jobs)
    if busy:
        yield f"another process is at work on {counted(busy)}; repeat the command when it is done"


def until_done(todo: Sequence[Job], launch: Launch) -> list[Ended]:
    """Launch jobs; where a process that works for them dies, the others go on, and those that it may have had are done one by one.

    Raises:
        UserError: the launcher gave up before any job began.
    """
    ends, rounds = [], [list(todo)]
    while rounds:
        jobs = rounds.pop(0)
        if not jobs:
            continue
        try:
            ends += launch(jobs)
        except UserError:
            raise
        except Exception as error:
            while any(job.state is State.BUSY for job in jobs):  # those that live go on
                time.sleep(PAUSE)
            begun = [job for job in jobs if job.begun]
            if not begun:
                why = Ended.by(error).error
                raise UserError(
                    f"hydra/launcher: it gave up before any job began ({why}); look at its settings, or take fewer jobs at once"
                ) from error
            if len(jobs) == 1:
                jobs[0].fail(Ended(1, KILLED))
                continue
            names = ", ".join(job.path.name for job in begun)
            print(f"a process died that worked on one of these: {names}; they are done once more, one by one", file=sys.stderr, flush=True)
            rounds += [[job for job in jobs if job not in begun and not job.over], *([job] for job in begun)]
    return ends


def counted(jobs: int) -> str:
    """A number of jobs, in words."""
    return f"{jobs} job{'s' if jobs != 1 else ''}"
