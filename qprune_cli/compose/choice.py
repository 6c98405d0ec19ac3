"""Components that overrides choose: those that are not there are refused, and an alias of a solver brings its scorer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from qprune_cli.compose.hydra import Override, groups, options
from qprune_cli.errors import UserError, nearest
from qprune_cli.places import config_dir


def checked_choices(overrides: list[Override], extra: str | None) -> list[Override]:
    """The overrides that choose a component; within a Hydra session.

    Args:
        overrides: these and others.
        extra: another folder of configs.

    Raises:
        UserError: a group has no such choice; names the nearest one that it has.
    """
    names = groups()
    choosing = [override for override in overrides if override.key_or_group in names]
    for override in choosing:
        added = (Path(extra) / override.key_or_group).glob("*.yaml") if extra else ()
        valid = {*options(override.key_or_group), *(path.stem for path in added)}
        value = override.value()
        if not isinstance(value, list) and value not in valid and not override.is_delete():
            raise UserError(f"{override.input_line}: no such {override.key_or_group}; {nearest(str(value), valid)}")
    return choosing


def refuse_contradiction(components: Mapping[str, str], extra: str | None) -> None:
    """Refuse another scorer beside an alias of a solver, which brings its own.

    Args:
        components: chosen yaml by role.
        extra: another folder of configs.

    Raises:
        UserError: the scorer is not that of the alias.
    """
    solver = str(components.get("solver"))
    wanted = alias_scorer(solver, extra)
    if wanted and components["scorer"] != wanted:
        raise UserError(
            f"scorer={components['scorer']}: solver={solver} is an alias that brings scorer={wanted}; "
            f"leave the scorer out or name the solver behind the alias (annealing, greedy)"
        )


def alias_scorer(solver: str, extra: str | None) -> str:
    """The scorer that an alias of a solver brings; empty where it brings none.

    Example:
        >>> alias_scorer("greedy_taylor", None), alias_scorer("greedy", None)
        ('taylor', '')
    """
    folders = ([Path(extra)] if extra else []) + [config_dir()]
    paths = [path for path in (folder / "solver" / f"{solver}.yaml" for folder in folders) if path.is_file()]
    stated = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(paths[0]))) if paths else {}
    entries = [entry for entry in stated.get("defaults", []) if isinstance(entry, dict)]
    return next((str(name) for entry in entries for role, name in entry.items() if "/scorer" in str(role)), "")
