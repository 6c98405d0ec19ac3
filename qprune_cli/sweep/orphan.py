"""A process that works for a sweep ends with it, even where the sweep was killed and could not say so."""

import os
import signal
from functools import cache
from threading import Thread
from time import sleep

EVERY = 0.5  # seconds


@cache
def end_with(parent: int) -> None:
    """Kill this process when the one that started it is gone; nothing where that is not ``parent``, as on a cluster."""
    if os.getppid() == parent:
        Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        sleep(EVERY)
    os.kill(os.getpid(), signal.SIGKILL)  # what it had begun is open again
