"""From overrides, or from a finished run, to the settings of every job."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from qprune_cli.compose.build import Composed
from qprune_cli.errors import UserError, nearest
from qprune_cli.places import config_dir

FREE = ("model.arguments", "limits", "solver.options")  # sections whose keys are the user's own


def freed(overrides: list[str]) -> list[str]:
    """Write overrides of the sections with free keys as Hydra wants keys that may be new.

    Example:
        >>> freed(["model.arguments.depth=17", "seed=1"])
        ['++model.arguments.depth=17', 'seed=1']
    """
    starts = tuple(f"{section}{sign}" for section in FREE for sign in ".=")
    return [f"++{word}" if word.startswith(starts) else word for word in overrides]


def parse(overrides: list[str]) -> list[Override]:
    """Overrides in Hydra's grammar, lists of values and globs over names included; called while Hydra is initialised."""
    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader()).parse_overrides(overrides)


def lines(overrides: Iterable[Override]) -> list[str]:
    """Overrides as they were written."""
    return [str(override.input_line) for override in overrides]


class Composer:
    """Composes jobs that share much, while Hydra is initialised: each choice of components is composed once.

    Args:
        config: name of the primary config.
        extra: another folder of configs, searched first.
    """

    def __init__(self, config: str, extra: str | None = None) -> None:
        self.config, self.extra = config, extra
        self._bases: dict[tuple[str, ...], DictConfig] = {}

    def one(self, overrides: list[str]) -> Composed:
        """Compose and check the settings of one job.

        Args:
            overrides: in Hydra's grammar.

        Raises:
            UserError: unknown keys or names, an alias against an explicit scorer.
        """
        parsed = OverridesParser.create().parse_overrides(overrides)
        base, values = self.known([o for o in parsed if not str(o.key_or_group).startswith("hydra")])
        hydra = any(str(override.key_or_group).startswith("hydra") for override in parsed)
        if hydra or not all(_plain(override) for override in values):
            settings = compose(self.config, overrides + search(self.extra), return_hydra_config=True)
        else:  # as Hydra does it
            settings = copy.deepcopy(base)
            for override in values:
                OmegaConf.update(settings, override.key_or_group, override.value())
        composed = resolved(settings, settings.hydra.runtime.choices)
        _refuse_contradiction(composed.components, self.extra)
        return composed

    def known(self, overrides: list[Override]) -> tuple[DictConfig, list[Override]]:
        """The settings of the components alone, and the overrides that change values of theirs.

        Raises:
            UserError: a group, a choice or a key does not exist; it names the nearest one that does.
        """
        groups = refuse_no_choice(overrides, self.extra)
        base = self._base(groups)
        values = [override for override in overrides if override not in groups]
        for override in values:
            if not override.is_add() and not override.is_force_add():
                find_setting(base, override.key_or_group)
        return base, values

    def base(self, overrides: list[Override]) -> DictConfig:
        """The settings of the components that overrides choose, before any value is changed.

        Raises:
            UserError: a choice does not exist.
        """
        return self._base(refuse_no_choice(overrides, self.extra))

    def _base(self, groups: list[Override]) -> DictConfig:
        chosen = tuple(lines(groups))
        if chosen not in self._bases:
            self._bases[chosen] = compose(self.config, [*chosen, *search(self.extra)], return_hydra_config=True)
        return self._bases[chosen]


def _plain(override: Override) -> bool:
    """Whether an override gives a setting that is there another value, and no more."""
    return override.type is OverrideType.CHANGE and not override.is_sweep_override()


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
    with readable_errors(), initialize_config_dir(str(config_dir()), version_base="1.3"):
        saved = cast(DictConfig, OmegaConf.load(folder / "config.yaml"))
        components = cast(dict[str, str], OmegaConf.to_container(saved.pop("components", DictConfig({}))))
        if {"run": "solver", "train": "train"}[command] not in components:
            raise UserError(f"{folder}: not the folder of a `qprune {command}`")
        chosen = [f"{role}={name}" for role, name in components.items()]
        settings = compose(command, chosen + search(extra), return_hydra_config=True)
        _take_over(settings, saved)
        for override in OverridesParser.create().parse_overrides(overrides):
            if override.key_or_group in components or override.is_sweep_override():
                raise UserError(f"{override.input_line}: a run is repeated with its own components; compose a new one for others")
            find_setting(settings, override.key_or_group)
            OmegaConf.update(settings, override.key_or_group, override.value())
        return resolved(settings, components)


def _take_over(settings: DictConfig, saved: DictConfig) -> None:
    """Give settings the saved values; where they agree, an interpolation stays one. Another component takes the place of one."""
    for key in map(str, saved):
        value = saved[key]
        own = settings._get_node(key) if key in settings else None
        if isinstance(value, DictConfig) and isinstance(own, DictConfig) and value.get("_target_") == own.get("_target_"):
            _take_over(own, value)
        elif OmegaConf.select(settings, key, throw_on_missing=False) != value:
            OmegaConf.update(settings, key, value, merge=False, force_add=True)


def resolved(settings: DictConfig, choices: Mapping[str, Any]) -> Composed:
    """Take Hydra's own part away and fill in the interpolations."""
    own = OmegaConf.masked_copy(settings, [str(key) for key in settings if key != "hydra"])
    values = cast(dict[str, Any], OmegaConf.to_container(own, resolve=True))
    return Composed(values, {role: str(name) for role, name in choices.items() if role in values and name})


def search(extra: str | None) -> list[str]:
    """Hydra's word for another folder of configs."""
    return [f"hydra.searchpath=[file://{Path(extra).absolute()}]"] if extra else []


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turn what Hydra, OmegaConf and yaml have to say into one sentence."""
    try:
        yield
    except UserError:
        raise
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        said = " ".join(str(error).split("\n")[0].split())
        if isinstance(error, OverrideParseException):
            said = f"{str(error.override).lstrip('+')}: cannot be read as an override ({said})"
        if "RecursionError" in said:
            said = (
                "model, data: each follows the other, so they are not of one kind: networks that name classes go with data that has labels "
                "(model=mlp data=digits), those that restore images with photographs (model=half_unet data=sample)"
            )
        if "Error merging override" in said:
            said = f"{said.removeprefix('Error merging override ')}: a value of another kind is needed there"
        if "Ambiguous value" in said:
            said += "; for a sweep over a list of values add -m"
        raise UserError(said) from error


def refuse_no_choice(overrides: list[Override], extra: str | None) -> list[Override]:
    """Name the nearest choice for one that a group does not have; called while Hydra is initialised.

    Returns:
        The overrides that choose from a group.
    """
    loader = GlobalHydra.instance().config_loader()
    names = set(loader.list_groups(""))
    groups = [override for override in overrides if override.key_or_group in names]
    for override in groups:
        own = (Path(extra) / override.key_or_group).glob("*.yaml") if extra else ()
        options = {*loader.get_group_options(override.key_or_group), *(path.stem for path in own)}
        value = override.value()
        if not isinstance(value, list) and value not in options and not override.is_delete():
            raise UserError(f"{override.input_line}: no such {override.key_or_group}; {nearest(str(value), options)}")
    return groups


def find_setting(settings: DictConfig, key: str) -> None:
    """Walk to a dotted key; refuse one that is not there."""
    node: Any = settings
    walked: list[str] = []
    for word in key.split("."):
        if not isinstance(node, DictConfig) or word not in node.keys():  # noqa: SIM118  (a value that is still missing counts)
            known = (
                [".".join([*walked, str(name)]) for name in node if walked or name != "hydra"] if isinstance(node, DictConfig) else walked
            )
            raise UserError(f"{key}: no such setting; {nearest(key, known)}")
        walked.append(word)
        node = node._get_node(word)


def _refuse_contradiction(components: dict[str, str], extra: str | None) -> None:
    """An alias of the solver names its scorer; another one is a contradiction."""
    solver = str(components.get("solver"))
    wanted = brought(solver, extra)
    if wanted and components["scorer"] != wanted:
        raise UserError(
            f"scorer={components['scorer']}: solver={solver} is an alias that brings scorer={wanted}; "
            f"leave the scorer out or name the solver behind the alias (annealing, greedy)"
        )


def brought(solver: str, extra: str | None) -> str:
    """The scorer that an alias of a solver brings; empty where it brings none.

    Example:
        >>> brought("greedy_taylor", None), brought("greedy", None)
        ('taylor', '')
    """
    folders = ([Path(extra)] if extra else []) + [config_dir()]
    paths = [path for path in (folder / "solver" / f"{solver}.yaml" for folder in folders) if path.is_file()]
    stated = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(paths[0]))) if paths else {}
    entries = [entry for entry in stated.get("defaults", []) if isinstance(entry, dict)]
    return next((str(name) for entry in entries for role, name in entry.items() if "/scorer" in str(role)), "")
