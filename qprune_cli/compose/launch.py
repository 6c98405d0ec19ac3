"""Do what the arguments of a command ask for: one job, a sweep, or one of Hydra's own questions."""

import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from qprune_cli.compose.arguments import is_question, parsed_arguments
from qprune_cli.compose.build import Composed
from qprune_cli.compose.hydra import ask
from qprune_cli.compose.jobs import Jobs, compose_jobs
from qprune_cli.compose.multirun import start_sweep
from qprune_cli.compose.repeat import repeated
from qprune_cli.errors import MissedTarget, UserError

Plan = TypeVar("Plan")


def launch(
    command: str,
    argv: list[str],
    prepare: Callable[[Composed], Plan],
    start: Callable[[Plan], object],
    source: Path | None = None,
    finished: bool = False,
    kept: bool = True,
) -> int:
    """Do what the arguments of a command ask for: one job, a sweep, or one of Hydra's own questions.

    Every job is composed and prepared before the first one starts.

    Args:
        command: name of the primary config, ``run`` or ``train``.
        argv: arguments behind the command, in Hydra's grammar.
        prepare: turns composed settings into a plan; raises UserError and writes nothing.
        start: carries out a plan; for a sweep the plan's ``place`` is a folder of its own.
        source: folder of an earlier run to repeat or to go on with, where the job is not composed from the arguments alone.
        finished: whether that run has to be.
        kept: whether jobs leave a folder, so that a sweep of them can go on where it was stopped.

    Returns:
        The exit code; for a sweep the highest of its jobs'.

    Raises:
        UserError: something in the arguments cannot be composed or prepared.
    """
    arguments, flags = parsed_arguments(argv)
    config, extra, words = arguments.config_name or command, arguments.config_dir, [*flags, *arguments.overrides]
    if arguments.cfg and (arguments.multirun or source):
        raise UserError(
            "--cfg: shows one job that is composed; leave --multirun, --from and --resume out (config.yaml in a folder shows that run)"
        )
    if is_question(arguments):
        return ask(command, words)
    if arguments.multirun and source:
        raise UserError("--from, --resume: one run is repeated or resumed; leave --multirun out")
    if source:
        composed = Jobs([repeated(command, source, arguments.overrides, extra, finished)])
    else:
        composed = compose_jobs(config, arguments.overrides, extra, arguments.multirun)
    if arguments.cfg:
        return ask(command, words)
    plans = [prepare(job) for job in composed.jobs]
    if composed.sweep is None:
        start(plans[0])
        return 0
    if not kept:
        return max(attempt(partial(start, plan)) for plan in plans)
    return start_sweep(command, config, extra, composed.sweep, plans, prepare, start)


def attempt(job: Callable[[], object]) -> int:
    """Run one job of a sweep; what goes wrong is printed and becomes an exit code, so that the others still run."""
    try:
        job()
        return 0
    except UserError as error:
        print(f"qprune: {error}", file=sys.stderr)
        return 2
    except MissedTarget as error:
        print(f"qprune: {error}", file=sys.stderr)
        return 3
    except Exception:  # a bug in one job must not lose the others
        traceback.print_exc()
        return 1
