"""The command line: find the command, compose its job, run it, answer with an exit code."""

import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qprune_cli.errors import UserError, nearest

HELP = """qprune: make a trained network smaller by choosing which filters to keep.

  qprune run [overrides]             prune a network             qprune run solver=hybrid_qubo sparsity=0.5
  qprune run -m [lists]              a sweep                     qprune run -m sparsity=0.25,0.5 seed=0,1,2
  qprune run --from FOLDER [...]     repeat a finished run, with other values where given
  qprune train [overrides]           train a dense network       qprune train experiment=train_half_unet
  qprune list [role]                 components and what they are for

`qprune run --help` shows all settings, `qprune run --cfg job` the composed configuration.
Tab completion in bash: eval "$(qprune -sc install=bash)"
Exit codes: 0 done, 2 a mistake in what was asked (one sentence says which), 130 interrupted, 1 a bug."""


def main() -> None:
    """Entry point of ``qprune`` and ``python -m qprune_cli``."""
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    logging.getLogger("qprune_cli").setLevel(logging.INFO)
    try:
        code = dispatch(sys.argv[1:])
    except UserError as error:
        print(f"qprune: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("qprune: interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


def dispatch(argv: list[str]) -> int:
    """Hand the arguments to their command.

    Raises:
        UserError: no such command, or the command refuses its arguments.
    """
    if argv[:1] in (["-sc"], ["--shell-completion"]):
        return complete(argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if argv[0] == "--version":
        from importlib.metadata import version

        print(version("qprune"))
        return 0
    if argv[0] not in COMMANDS:
        raise UserError(f"{argv[0]}: no such command; {nearest(argv[0], COMMANDS)}. `qprune --help` shows what each does")
    return COMMANDS[argv[0]](argv[1:])


def run(argv: list[str]) -> int:
    """Prune: compose jobs, or take one from a finished run."""
    from qprune_cli.compose.launch import launch

    def prepare(job: Any) -> Any:
        from qprune_cli.plan import RunPlan

        return RunPlan.of(job)

    def start(plan: Any) -> None:
        from qprune_cli import pipeline

        pipeline.run(plan)

    argv = [part for word in argv for part in (word.split("=", 1) if word.startswith("--from=") else [word])]
    if "--from" not in argv:
        return launch("run", argv, prepare, start)
    place = argv.index("--from")
    if place + 1 == len(argv):
        raise UserError("--from: give the folder of a finished run")
    return launch("run", argv[:place] + argv[place + 2 :], prepare, start, source=Path(argv[place + 1]))


def train(argv: list[str]) -> int:
    """Train a dense network."""
    from qprune_cli.compose.launch import launch

    def prepare(job: Any) -> Any:
        from qprune_cli.plan import TrainPlan

        return TrainPlan.of(job)

    def start(plan: Any) -> None:
        from qprune_cli import pipeline

        pipeline.train(plan)

    return launch("train", argv, prepare, start)


def list_components(argv: list[str]) -> int:
    """Print components and what they are for."""
    from qprune_cli.catalog import components, roles

    for role in argv or roles():
        print(role)
        for name, purpose in components(role).items():
            print(f"  {name:<24}{purpose}")
    return 0


def complete(argv: list[str]) -> int:
    """Answer the shell: commands first, then whatever Hydra knows of the command.

    The shell calls ``qprune -sc query=bash`` with the typed line in COMP_LINE. Hydra knows no commands, so the
    command is taken out of the line before Hydra sees it.
    """
    from qprune_cli.compose.launch import ask_hydra

    if not any("query=" in word for word in argv):
        return ask_hydra("run", argv)
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()[1:] if line.endswith(" ") else line.split()[1:-1]
    command = next((word for word in typed if word in COMMANDS), None)
    if command is None:
        print(" ".join(COMMANDS))
        return 0
    if command == "list":
        from qprune_cli.catalog import roles

        print(" ".join(roles()))
        return 0
    os.environ["COMP_LINE"] = re.sub(rf"(\S+\s+){command}(\s|$)", r"\1", line, count=1)
    return ask_hydra(command, argv)


COMMANDS: dict[str, Callable[[list[str]], int]] = {"run": run, "train": train, "list": list_components}
