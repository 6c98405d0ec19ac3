"""Which runs: ``solver=hybrid_qubo,greedy_taylor sparsity=0.5``, in words as a user gives them on the command line."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from qprune_cli.compare.settings import ABSENT, in_order, spelled
from qprune_cli.errors import UserError, nearest

PIECE = r"""(?:\[[^\]]*\]|\{[^}]*\}|'[^']*'|"[^"]*"|[^,])+"""
Words = Mapping[str, tuple[str, ...]]


class Configured(Protocol):
    """Whatever words can choose: it has settings."""

    @property
    def settings(self) -> Mapping[str, str]:
        """Values by the names of the settings on the command line."""


One = TypeVar("One", bound=Configured)


def words(given: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Values that settings may have; a piece without ``=`` is another value of the setting before.

    Raises:
        UserError: it begins without a setting.

    Example:
        >>> words(["solver=greedy,swap,sparsity=0.50", "seed=0"])
        {'solver': ('greedy', 'swap'), 'sparsity': ('0.5',), 'seed': ('0',)}
    """
    values: dict[str, tuple[str, ...]] = {}
    for word in given:
        key = ""
        for piece in pieces(word):
            name, is_setting, value = piece.partition("=")
            if is_setting:
                key = name.strip()
            if not key:
                raise UserError(f"{word}: begins without a setting; write it as in solver=greedy,swap")
            last = spelled(value if is_setting else piece)
            values[key] = (*(one for one in values.get(key, ()) if one != last), last)
    return values


def apart(given: Iterable[str]) -> tuple[list[str], list[str]]:
    """Tell paths of the command line from words: a word has a ``=`` and is no path that exists.

    Raises:
        UserError: nothing is a path.
    """
    every = list(given)
    paths = [word for word in every if "=" not in word or Path(word).exists() or "/" in word.partition("=")[0]]
    if not paths:
        raise UserError(f"{every[0]}: give a folder with runs as well, as in qprune compare outputs/runs {every[0]}")
    return paths, [word for word in every if word not in paths]


def pieces(word: str) -> list[str]:
    """Split a word at commas and before another setting; what is in brackets or quotes stays together.

    Example:
        >>> pieces("scorer.lambdas=[1,5],seed=0 data.root=My photos")
        ['scorer.lambdas=[1,5]', 'seed=0', 'data.root=My photos']
    """
    settings = re.split(r"\s+(?=[\w.]+=)", word.strip())
    every = [piece for setting in settings for piece in re.findall(PIECE, setting)]
    return [piece.strip() for piece in every if piece.strip()]


def refuse_unknown_key(key: str, runs: Iterable[Configured], option: str = "") -> None:
    """Refuse a setting that no run has.

    Raises:
        UserError: it names the nearest one.
    """
    names = {name for run in runs for name in run.settings}
    if key not in names:
        section = {name for name in names if name.split(".")[0] == key.split(".")[0]}
        plain = {name for name in names if "." not in name}
        raise UserError(f"{option}{key}: no run has such a setting; {nearest(key, section | plain)}")


def select(runs: Sequence[One], wanted: Words, option: str = "") -> list[One]:
    """The runs that have one of the values of every setting.

    Args:
        runs: to choose from.
        wanted: the values that each setting may have, as ``words`` gives them.
        option: what stood before them, such as ``"--baseline "``.

    Raises:
        UserError: a setting or value that no run has, or no run has all of them.
    """
    for key, values in wanted.items():
        refuse_unknown_key(key, runs, option)
        there = {run.settings.get(key, ABSENT) for run in runs}
        for value in values:
            if value not in there:
                raise UserError(f"{option}{key}={value}: no run has it; {nearest(value, sorted(there, key=in_order))}")
    chosen = [run for run in runs if fits(run, wanted)]
    if not chosen:
        text = " ".join(f"{key}={','.join(values)}" for key, values in wanted.items())
        raise UserError(f"{option}{text}: each is there, but no run has all of them; leave one out")
    return chosen


def fits(run: Configured, wanted: Words) -> bool:
    """Whether a run has one of the values of every setting."""
    return all(run.settings.get(key, ABSENT) in values for key, values in wanted.items())
