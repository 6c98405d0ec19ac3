"""What commands share that read their own arguments."""

from argparse import ArgumentParser
from pathlib import Path
from typing import NoReturn

from qprune_cli.errors import UserError


class Parser(ArgumentParser):
    """The arguments of a command; what it does not understand becomes one sentence that names the command."""

    def error(self, message: str) -> NoReturn:
        """Refuse arguments that cannot be understood.

        Raises:
            UserError: always.
        """
        raise UserError(f"{message}; `{' '.join(self.prog.split()[:2])} --help` shows how")


class Offered(tuple[str, ...]):
    """Values that the shell offers for an argument. Others pass the parser as well: the command refuses them in its own words.

    Example:
        >>> "bmp" in Offered(("onnx", "pt2"))
        True
    """

    __slots__ = ()

    def __contains__(self, value: object) -> bool:
        return True


def offered(parser: ArgumentParser) -> list[str]:
    """The words that may follow a command: its options, the values that its arguments choose from, and its sub-commands with theirs.

    Example:
        >>> parser = Parser("qprune export", add_help=False)
        >>> _ = parser.add_argument("--format", choices=Offered(("onnx", "pt2")))
        >>> offered(parser)
        ['--format', 'onnx', 'pt2']
    """
    words: list[str] = []
    for action in parser._actions:
        words += [*action.option_strings, *map(str, action.choices or ())]
        if isinstance(action.choices, dict):
            words += [word for command in action.choices.values() for word in offered(command)]
    return words


def folder_option(argv: list[str], flag: str) -> tuple[list[str], Path | None]:
    """Take ``flag FOLDER`` or ``flag=FOLDER`` out of arguments that Hydra is to read.

    Returns:
        The other arguments, and the folder; None where the flag is not given.

    Raises:
        UserError: no folder behind the flag.

    Example:
        >>> folder_option(["seed=1", "--from", "a_run"], "--from")[0]
        ['seed=1']
    """
    argv = [part for word in argv for part in (word.split("=", 1) if word.startswith(f"{flag}=") else [word])]
    if flag not in argv:
        return argv, None
    position = argv.index(flag)
    if position + 1 == len(argv):
        raise UserError(f"{flag}: give the folder of a run")
    return argv[:position] + argv[position + 2 :], Path(argv[position + 1])
