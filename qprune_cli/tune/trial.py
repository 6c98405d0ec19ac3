"""One trial: an ordinary run in a folder of its own, and what its network is worth."""

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from qprune_cli.compose.search import Search
from qprune_cli.errors import UserError
from qprune_cli.record.folder import Folder
from qprune_cli.run.plan import RunPlan
from qprune_cli.run.prune import run
from qprune_cli.sweep.job import Ended, Job, State, carry_out, job_name
from qprune_cli.tune.judge import Judge, Worth

PAUSE = 0.5  # seconds between two looks at a run that another process does
REFINED = (
    "refine={}: it would tune masks on the images that trials are judged on; leave it out, and give what is found to `qprune run` with it"
)


class Stopped(UserError):
    """A trial could not be done, through no fault of its settings; the search ends, and the same command goes on with it."""


@dataclass(frozen=True)
class Tried:
    """How a trial ended, and what its network is worth.

    Attributes:
        folder: its name below that of the search; empty where the settings do not go together.
        ended: exit code and error, as those of a run.
        worth: of its network; None where it failed.
    """

    folder: str
    ended: Ended
    worth: Worth | None = None


def plan_of(search: Search, words: tuple[str, ...]) -> RunPlan:
    """The plan of the run that a trial is.

    Args:
        search: what the trial is of.
        words: its overrides.

    Raises:
        UserError: its settings are wrong, or it would refine masks on the images that it is judged on.
    """
    plan = RunPlan.of(search.composed(words))
    if plan.components["refine"] != "none":
        raise UserError(REFINED.format(plan.components["refine"]))
    return plan


def tried(search: Search, words: tuple[str, ...], folder: Path, judge: Judge) -> Tried:
    """Do the run of a trial, or take it where it is finished, and judge its network.

    Args:
        search: what the trial is of.
        words: its overrides.
        folder: of the search.
        judge: measures its network.

    Raises:
        Stopped: no space is left, or the folder cannot be written.
    """
    name = ""
    try:
        plan = plan_of(search, words)
        name = job_name(plan)
        ended = done(plan, folder / name)
        return Tried(name, ended, None if ended.error else judge.smaller(folder / name))
    except Stopped:
        raise
    except UserError as error:
        return Tried(name, Ended.by(error))


def done(plan: RunPlan, path: Path) -> Ended:
    """Do a run in its folder; where another process is at work in it, wait for that.

    Raises:
        Stopped: it could not be done.
    """
    job = Job(path)
    while True:
        ended = carry_out(plan, path, partial(_start, plan))
        if job.over:
            return job.ended
        if ended.error:
            raise Stopped(f"{ended.error}; the same command goes on with this trial")
        while job.state is State.BUSY:
            time.sleep(PAUSE)


def _start(plan: RunPlan, folder: Folder) -> None:
    run(replace(plan, begun=folder))
