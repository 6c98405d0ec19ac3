"""The errors that qprune raises on purpose, and pieces of their sentences."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake of the user: one sentence with setting, value, what is allowed, what to do.

    The command line prints the sentence without a traceback and exits with code 2.

    Example:
        >>> raise UserError("sparsity=1.5: give the share of filters to remove, in [0, 1)")
        Traceback (most recent call last):
        ...
        qprune_cli.errors.UserError: sparsity=1.5: give the share of filters to remove, in [0, 1)
    """


class MissedTarget(Exception):
    """The smaller network is larger or slower than its budget; the run is complete, and the command line exits with code 3."""


class StructureError(UserError):
    """A network holds something that pruning has no rule for; the text names it."""


def listed(names: Iterable[str]) -> str:
    """Join names to choose from, as in a sentence.

    Example:
        >>> listed(["psnr", "mse", "l1"])
        'psnr, mse or l1'
    """
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def nearest(word: str, valid: Iterable[str]) -> str:
    """Say which valid names there are, the nearest one first.

    Args:
        word: what the user wrote.
        valid: the names that would have worked.

    Returns:
        The end of a sentence, such as ``did you mean 'greedy'? Valid: annealing, greedy``.

    Example:
        >>> nearest("gredy", ["annealing", "greedy"])
        "did you mean 'greedy'? Valid: annealing, greedy"
    """
    names = sorted(valid)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.4)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}Valid: {', '.join(names)}"
