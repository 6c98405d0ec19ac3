"""From the folder of an earlier run to the settings of a job that repeats it, or goes on with it."""

from pathlib import Path
from typing import cast

from omegaconf import DictConfig, OmegaConf

from qprune_cli.compose.build import Composed
from qprune_cli.compose.composer import resolved
from qprune_cli.compose.hydra import compose, parse, session
from qprune_cli.compose.keys import check_setting
from qprune_cli.errors import UserError

SIGN = {"run": "solver", "train": "train"}  # a role that a command alone has


def repeated(command: str, folder: Path, overrides: list[str], extra: str | None = None, finished: bool = False) -> Composed:
    """Take the job of an earlier run, with other values where given.

    The components are composed anew and then given the values of the run, so that a setting which others follow (such as
    ``loss``) still leads them.

    Args:
        command: what made it, ``run`` or ``train``.
        folder: its folder.
        overrides: ``key=value`` for settings that the run has.
        extra: another folder of configs, where components of the run come from it.
        finished: whether it has to be.

    Raises:
        UserError: no such run, an unknown key, or another component.
    """
    if finished and not (folder / "manifest.json").is_file():
        raise UserError(f"{folder}: holds no manifest.json; give the folder of a finished run, or go on with one by --resume")
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{folder}: holds no config.yaml; give the folder of a `qprune {command}`")
    with session():
        saved = cast(DictConfig, OmegaConf.load(folder / "config.yaml"))
        components = cast(dict[str, str], OmegaConf.to_container(saved.pop("components", DictConfig({}))))
        if SIGN[command] not in components:
            raise UserError(f"{folder}: not the folder of a `qprune {command}`")
        settings = compose(command, [f"{role}={name}" for role, name in components.items()], extra)
        _take_over(settings, saved)
        for override in parse(overrides):
            if override.key_or_group in components or override.is_sweep_override():
                raise UserError(f"{override.input_line}: a run is repeated with its own components; compose a new one for others")
            check_setting(settings, override.key_or_group)
            OmegaConf.update(settings, override.key_or_group, override.value())
        return resolved(settings, components)


def _take_over(settings: DictConfig, saved: DictConfig) -> None:
    """Give settings the saved values; where they agree, an interpolation stays one. Another component takes the place of one."""
    for key in map(str, saved):
        value = saved[key]
        section = settings._get_node(key) if key in settings else None
        if isinstance(value, DictConfig) and isinstance(section, DictConfig) and value.get("_target_") == section.get("_target_"):
            _take_over(section, value)
        elif OmegaConf.select(settings, key, throw_on_missing=False) != value:
            OmegaConf.update(settings, key, value, merge=False, force_add=True)
