"""Progress of a sweep on the terminal, whoever runs its jobs: their folders say what is done."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from time import monotonic

from qprune_cli.record.read import Unreadable, read_json
from qprune_cli.sweep.job import Job, State

EVERY = 0.5  # seconds


@contextmanager
def watched(jobs: Sequence[Job]) -> Iterator[None]:
    """Print a line for each job that ends while the block runs, and how long the others may take."""
    over = Event()
    thread = Thread(target=_watch, args=(jobs, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(jobs: Sequence[Job], over: Event) -> None:
    waiting, ended, start = list(jobs), 0, monotonic()
    last = False
    while waiting and not last:
        last = over.wait(EVERY)  # a last look when it is over
        for job in [job for job in waiting if job.over]:
            waiting.remove(job)
            ended += 1
            left = timedelta(seconds=round((monotonic() - start) / ended * len(waiting)))
            print(f"{ended}/{len(jobs)}  {job.path.name}  {_result(job)}" + (f"  (about {left} to go)" if waiting else ""), flush=True)


def _result(job: Job) -> str:
    """A job that is over in a few words: the measures of the last stage of a run, or what went wrong."""
    if job.ended.error:
        return "failed"
    try:
        *_, last = read_json(job.path, "metrics.json")["stages"].values()
        return ", ".join(f"{name} {value['mean']:.4g}" for name, value in last.items() if isinstance(value, dict) and "mean" in value)
    except (Unreadable, ValueError, KeyError):
        return State.FINISHED.value
