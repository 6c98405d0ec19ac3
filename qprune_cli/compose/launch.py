"""What the arguments of a command ask for: one job, a sweep, or one of Hydra's own questions."""

import sys
import traceback
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

from hydra import main as hydra_main
from hydra._internal.utils import get_args_parser

from qprune_cli.compose.asked import Asked, compose_jobs
from qprune_cli.compose.build import Composed
from qprune_cli.compose.jobs import freed, repeated
from qprune_cli.compose.multirun import sweep
from qprune_cli.errors import MissedTarget, UserError
from qprune_cli.places import config_dir

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
    config, extra, flags_first = arguments.config_name or command, arguments.config_dir, flags + arguments.overrides
    if arguments.cfg and (arguments.multirun or source):
        raise UserError(
            "--cfg: shows one job that is composed; leave --multirun, --from and --resume out (config.yaml in a folder shows that run)"
        )
    if arguments.help or arguments.hydra_help or arguments.shell_completion or arguments.info:
        return ask_hydra(command, flags_first)
    if arguments.multirun and source:
        raise UserError("--from, --resume: one run is repeated or resumed; leave --multirun out")
    found = (
        Asked([repeated(command, source, arguments.overrides, extra, finished)])
        if source
        else compose_jobs(config, arguments.overrides, extra, arguments.multirun)
    )
    if arguments.cfg:
        return ask_hydra(command, flags_first)
    plans = [prepare(job) for job in found.jobs]
    if found.sweep is None:
        start(plans[0])
        return 0
    if not kept:
        return max(attempt(partial(start, plan)) for plan in plans)
    return sweep(command, config, extra, found.sweep, plans, prepare, start)


def parsed_arguments(argv: list[str]) -> tuple[Namespace, list[str]]:
    """Read Hydra's flags and overrides, in any order.

    Returns:
        Both, and the words of the flags alone.

    Raises:
        UserError: no such flag, or a folder of configs that is not there.
    """
    parser = get_args_parser()
    parser.error = _refuse_arguments  # type: ignore[method-assign]
    arguments = parser.parse_intermixed_args(argv)
    arguments.overrides = freed(arguments.overrides)
    if arguments.config_path:
        raise UserError("--config-path: qprune's own configs are always needed; add yours with --config-dir")
    if arguments.config_dir and not Path(arguments.config_dir).is_dir():
        raise UserError(f"--config-dir {arguments.config_dir}: no such folder; give the folder of your own configs")
    return arguments, [word for word in freed(argv) if word not in arguments.overrides]


def _refuse_arguments(message: str) -> NoReturn:
    raise UserError(f"{message}; overrides are written key=value, `qprune --help` shows the flags")


def attempt(job: Callable[[], object]) -> int:
    """Run one job of a sweep; what goes wrong is told and becomes an exit code, so that the others still run."""
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


def ask_hydra(command: str, argv: list[str]) -> int:
    """Let Hydra answer --help, --cfg, --info and shell completion; it reads sys.argv."""
    sys.argv = [sys.argv[0], *argv]
    hydra_main(config_path=str(config_dir()), config_name=command, version_base="1.3")(lambda settings: None)()
    return 0
