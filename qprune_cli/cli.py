"""The command line: find the command, let it do what its arguments ask for, answer with an exit code."""

import logging
import os
import re
import signal
import sys
from importlib import import_module
from typing import Any

from qprune_cli.errors import MissedTarget, UserError, nearest

# Each is a module of ``command/``, imported when it is asked for: HELP is its part of the text below, ``run`` takes arguments and
# gives the exit code. What the shell offers behind it are the settings of CONFIG, which Hydra knows, or what ``words`` gives.
COMMANDS = ("run", "tune", "train", "inspect", "evaluate", "apply", "export", "report", "compare", "data", "cache", "list")
HELP = """qprune: make a trained network smaller by choosing which filters to keep.

{commands}
`qprune run --help` shows all settings, `qprune run --cfg job` the composed configuration.
Tab completion in bash: eval "$(qprune -sc install=bash)"
Exit codes: 0 done, 2 a mistake in what was asked (one sentence says which; of apply also: files were left out, the rest is done),
3 the smaller network exceeds its budget, 130 interrupted, 1 a bug."""


def main() -> None:
    """Entry point of ``qprune`` and ``python -m qprune_cli``."""
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    logging.getLogger("qprune_cli").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's polite request ends like Ctrl-C
    try:
        code = dispatch(sys.argv[1:])
    except UserError as error:
        print(f"qprune: {error}", file=sys.stderr)
        code = 2
    except MissedTarget as error:
        print(f"qprune: {error}", file=sys.stderr)
        code = 3
    except KeyboardInterrupt:
        print("qprune: interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # whoever read the output has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def dispatch(argv: list[str]) -> int:
    """Hand the arguments to their command.

    Args:
        argv: what follows ``qprune``.

    Returns:
        The exit code.

    Raises:
        UserError: no such command, or the command refuses its arguments.
    """
    if argv[:1] in (["-sc"], ["--shell-completion"]):
        return complete(argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP.format(commands="".join(command(name).HELP for name in COMMANDS)))
        return 0
    if argv[0] == "--version":
        from importlib.metadata import version

        print(version("qprune"))
        return 0
    if argv[0] not in COMMANDS:
        raise UserError(f"{argv[0]}: no such command; {nearest(argv[0], COMMANDS)}. `qprune --help` shows what each does")
    code: int = command(argv[0]).run(argv[1:])
    return code


def command(name: str) -> Any:
    """The module of a command."""
    return import_module(f"qprune_cli.command.{name}")


def complete(argv: list[str]) -> int:
    """Answer the shell: commands first, then what may follow the command that was typed.

    The shell calls ``qprune -sc query=bash`` with the typed line in COMP_LINE. Hydra knows no commands, so the
    command is taken out of the line before Hydra sees it.
    """
    if not any("query=" in word for word in argv):
        return _ask_hydra("run", argv)
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()[1:] if line.endswith(" ") else line.split()[1:-1]
    name = next((word for word in typed if word in COMMANDS), None)
    if name is None:
        print(" ".join(COMMANDS))
        return 0
    module = command(name)
    if hasattr(module, "CONFIG"):
        os.environ["COMP_LINE"] = re.sub(rf"(\S+\s+){name}(\s|$)", r"\1", line, count=1)
        return _ask_hydra(module.CONFIG, argv)
    print(" ".join(module.words()))
    return 0


def _ask_hydra(config: str, argv: list[str]) -> int:
    from qprune_cli.compose.hydra import ask

    return ask(config, argv)
