"""Settings of a run as flat words: ``scorer.beta`` -> ``0.5``."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from qprune_cli.errors import UserError
from qprune_cli.record.read import LOADER

ABSENT = "null"  # what a setting counts as that a run does not have
IDLE = ("output_root", "device", "cache", "fidelity", "certify", "latency")  # settings that change no network


def plain(value: Any) -> str:
    """A YAML value as the one text that all its spellings share.

    Example:
        >>> plain(0.50), plain(1e-5), plain(2.0), plain(True), plain(None), plain([1.0, "a"])
        ('0.5', '1e-05', '2', 'true', 'null', '[1, a]')
    """
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {plain(entry)}' for key, entry in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(plain, value))}]"
    return str(value)


def spelled(word: str) -> str:
    """The one text of a value that a user wrote, which ``plain`` gives as well.

    Raises:
        UserError: it is no YAML value.

    Example:
        >>> spelled("0.50"), spelled("1e-5"), spelled("greedy"), spelled("[1.0,5]")
        ('0.5', '1e-05', 'greedy', '[1, 5]')
    """
    try:
        value = yaml.load(word, LOADER)
    except yaml.YAMLError as error:
        raise UserError(f"{word}: cannot be read as a value; quote it as in YAML") from error
    number = numeric(value) if isinstance(value, str) else None  # 1e-5, which YAML takes for a word
    return plain(value if number is None else number)


def numeric(word: str) -> float | None:
    """The number that a word is, if it is one.

    Example:
        >>> numeric("0.5"), numeric("infinity"), numeric("none")
        (0.5, None, None)
    """
    try:
        return float(word) if word[:1] in set("+-.0123456789") else None
    except ValueError:
        return None


def in_order(word: str) -> tuple[int, float, str]:
    """A key to sort values by: numbers by size, then words.

    Example:
        >>> sorted(["10", "9", "none", "0.5"], key=in_order)
        ['0.5', '9', '10', 'none']
    """
    number = numeric(word)
    return (1, 0.0, word) if number is None else (0, number, word)


def flat(config: Mapping[str, Any]) -> dict[str, str]:
    """All settings of a run by their names on the command line; a role stands for its component.

    Args:
        config: as in config.yaml.

    Example:
        >>> flat({"scorer": {"beta": 0.5}, "sparsity": 0.5, "limits": {}, "components": {"scorer": "hybrid"}})
        {'scorer': 'hybrid', 'scorer.beta': '0.5', 'sparsity': '0.5'}
    """
    roles = {str(role): plain(name) for role, name in config["components"].items()}
    return roles | dict(_walk({key: value for key, value in config.items() if key != "components" and not (key in roles and not value)}))


def _walk(section: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _walk(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", plain(value)
