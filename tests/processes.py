"""Commands in processes of their own, which can be killed. A server that has imported everything forks them: that takes no time."""

import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
import torch._decomp
import torch._dynamo
import torch._refs

import qprune_cli.compose.launch
import qprune_cli.record.observer
import qprune_cli.run.prune
import qprune_cli.run.train  # noqa: F401  (all of these are for the server)
from qprune_cli import cli
from tests.runs import refuse_export

SERVER = get_context("forkserver")
SERVER.set_forkserver_preload([__name__])


def begun(*words: str, output: Path | None = None) -> BaseProcess:
    """Start a command line; what it prints goes to ``output``, complaints to a file beside it that ends in .err, or all is lost."""
    process = SERVER.Process(target=_work, args=(words, dict(os.environ), output or Path(os.devnull)))  # a daemon has no children
    process.start()
    return process


def alone(function: Callable[..., object], *arguments: object) -> None:
    """Call a function of a module in a process that has seen nothing of this one; fails where it does."""
    process = SERVER.Process(target=function, args=arguments)
    process.start()
    assert ended(process) == 0


def ended(process: BaseProcess) -> int | None:
    """Wait for it; its exit code, or None where it lives too long, which ends it."""
    process.join(120)
    code = process.exitcode
    process.kill()
    return code


def killed(process: BaseProcess, when: Callable[[], object], by: signal.Signals = signal.SIGKILL) -> int:
    """Send a signal as soon as something is so; fails where the process ends before.

    Returns:
        The exit code, below 0 for a process that could not say one.
    """
    deadline = time.monotonic() + 120
    try:
        while not when():
            assert time.monotonic() < deadline and process.is_alive(), "what was waited for never happened"
            time.sleep(0.002)
        assert process.pid is not None
        os.kill(process.pid, by)
        process.join(60)
        assert process.exitcode is not None, "it lives on"
        return process.exitcode
    finally:
        process.kill()


def _work(words: tuple[str, ...], environment: dict[str, str], output: Path) -> None:
    for number, path in ((1, output), (2, output if str(output) == os.devnull else output.with_suffix(".err"))):
        with path.open("a") as file:
            os.dup2(file.fileno(), number)
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    torch.export.export = refuse_export
    sys.argv = ["qprune", *words]
    cli.main()
