"""Dotted names of settings."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from qprune_cli.compose.jobs import FREE


def has(known: Collection[str], key: str) -> bool:
    """Whether a setting is among the known ones, or its section takes keys of the user's own.

    Example:
        >>> has({"solver.options"}, "solver.options.beta_range"), has({"scorer.beta"}, "scorer.bet")
        (True, False)
    """
    return key in known or any(key.startswith(f"{section}.") and section in known for section in FREE)


def dotted(values: Mapping[str, Any], start: str = "") -> Iterator[str]:
    """Names of all settings of nested sections, and of the sections.

    Example:
        >>> list(dotted({"seed": 0, "scorer": {"beta": 1}}))
        ['seed', 'scorer', 'scorer.beta']
    """
    for name, value in values.items():
        yield f"{start}{name}"
        if isinstance(value, dict):
            yield from dotted(value, f"{start}{name}.")


def near(key: str, known: Collection[str]) -> set[str]:
    """Names in the same section, or those at the top where there is no such section.

    Example:
        >>> near("scorer.betta", {"seed", "scorer", "scorer.beta"})
        {'scorer.beta'}
    """
    section = key.rpartition(".")[0]
    found = {name for name in known if name.rpartition(".")[0] == section}
    return found or {name for name in known if "." not in name}
