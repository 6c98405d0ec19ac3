"""``qprune tune``: search settings, quality up and multiply-accumulates down."""

from typing import Any

HELP = """\
  qprune tune [overrides]            search settings             qprune tune 'sparsity=interval(0.3,0.8)' scorer=gram,hybrid tune.trials=30
"""
CONFIG = "tune"


def run(argv: list[str]) -> int:
    """Search what the arguments ask for, or go on with that search.

    Raises:
        UserError: something in the arguments is wrong, or the search cannot go on.
    """
    from qprune_cli.compose.tune import launch_search

    return launch_search(argv, start)


def start(search: Any) -> int:
    """Carry out a search; gives the exit code."""
    from qprune_cli.tune.tune import tune

    return tune(search)
