"""``qprune inspect``: what of a network could go; nothing is solved or written."""

from typing import Any

HELP = """\
  qprune inspect [overrides]         what of a network can go, what stays and why, reachable targets; takes what run takes
"""
CONFIG = "run"


def run(argv: list[str]) -> int:
    """Compose the jobs that the arguments ask for, and say of each what could go.

    Raises:
        UserError: something in the arguments is wrong.
    """
    from qprune_cli.compose.launch import launch

    return launch(CONFIG, argv, prepare, show, kept=False)


def prepare(job: Any) -> Any:
    """Turn a composed job into a ``RunPlan``; its weights need not be there.

    Raises:
        UserError: a setting is wrong.
    """
    from qprune_cli.run.plan import RunPlan

    return RunPlan.of(job)


def show(plan: Any) -> None:
    """Print what of the network of a plan could go."""
    from qprune_cli.run.inspect import inspect

    print(inspect(plan))
