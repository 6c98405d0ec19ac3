"""Dotted names of settings, such as ``scorer.beta``."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig

from qprune_cli.errors import UserError, nearest

FREE = ("model.arguments", "limits", "solver.options")  # sections whose keys are the user's own


def freed(overrides: list[str]) -> list[str]:
    """Write overrides of the sections with free keys as Hydra wants keys that may be new.

    Example:
        >>> freed(["model.arguments.depth=17", "seed=1"])
        ['++model.arguments.depth=17', 'seed=1']
    """
    starts = tuple(f"{section}{sign}" for section in FREE for sign in ".=")
    return [f"++{word}" if word.startswith(starts) else word for word in overrides]


def check_setting(settings: DictConfig, key: str) -> None:
    """Walk to a dotted key of composed settings.

    Raises:
        UserError: it is not there; names the nearest one that is.
    """
    node: Any = settings
    walked: list[str] = []
    for word in key.split("."):
        if not isinstance(node, DictConfig) or word not in node.keys():  # noqa: SIM118  (a value that is still missing counts)
            names = (
                [".".join([*walked, str(name)]) for name in node if walked or name != "hydra"] if isinstance(node, DictConfig) else walked
            )
            raise UserError(f"{key}: no such setting; {nearest(key, names)}")
        walked.append(word)
        node = node._get_node(word)


def has_setting(settings: DictConfig, key: str) -> bool:
    """Whether composed settings have a dotted key."""
    try:
        check_setting(settings, key)
    except UserError:
        return False
    return True


def has(names: Collection[str], key: str) -> bool:
    """Whether a setting is among these names, or its section takes keys of the user's own.

    Example:
        >>> has({"solver.options"}, "solver.options.beta_range"), has({"scorer.beta"}, "scorer.bet")
        (True, False)
    """
    return key in names or any(key.startswith(f"{section}.") and section in names for section in FREE)


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


def near(key: str, names: Collection[str]) -> set[str]:
    """Names in the same section, or those at the top where there is no such section.

    Example:
        >>> near("scorer.betta", {"seed", "scorer", "scorer.beta"})
        {'scorer.beta'}
    """
    section = key.rpartition(".")[0]
    siblings = {name for name in names if name.rpartition(".")[0] == section}
    return siblings or {name for name in names if "." not in name}
