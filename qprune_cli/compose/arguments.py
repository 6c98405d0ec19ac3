"""The arguments behind a command whose settings Hydra composes: its flags, and overrides between them."""

from argparse import Namespace
from pathlib import Path
from typing import NoReturn

from qprune_cli.compose.hydra import argument_parser
from qprune_cli.compose.keys import freed
from qprune_cli.errors import UserError


def parsed_arguments(argv: list[str]) -> tuple[Namespace, list[str]]:
    """Read Hydra's flags and overrides, in any order.

    Returns:
        Both, and the words of the flags alone.

    Raises:
        UserError: no such flag, or a folder of configs that is not there.
    """
    parser = argument_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    arguments = parser.parse_intermixed_args(argv)
    arguments.overrides = freed(arguments.overrides)
    if arguments.config_path:
        raise UserError("--config-path: qprune's own configs are always needed; add yours with --config-dir")
    if arguments.config_dir and not Path(arguments.config_dir).is_dir():
        raise UserError(f"--config-dir {arguments.config_dir}: no such folder; give the folder of your own configs")
    return arguments, [word for word in freed(argv) if word not in arguments.overrides]


def is_question(arguments: Namespace) -> bool:
    """Whether Hydra answers the arguments by itself: --help, --hydra-help, --info, or shell completion."""
    return bool(arguments.help or arguments.hydra_help or arguments.shell_completion or arguments.info)


def _refuse(message: str) -> NoReturn:
    raise UserError(f"{message}; overrides are written key=value, `qprune --help` shows the flags")
