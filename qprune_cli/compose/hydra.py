"""Hydra, as far as qprune uses it. No other file imports it: what is internal to Hydra, and may change with its version, stands here.

``tests/compose/test_hydra.py`` checks what is used against the version that constraints.txt pins.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep as ChoiceSweep
from hydra.core.override_parser.types import IntervalSweep as IntervalSweep
from hydra.core.override_parser.types import Override as Override
from hydra.core.override_parser.types import OverrideType
from hydra.core.override_parser.types import RangeSweep as RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import HydraException, OverrideParseException
from hydra.types import HydraContext, RunMode
from hydra.utils import get_class as get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from qprune_cli.errors import UserError
from qprune_cli.places import config_dir

Launch = Callable[[Sequence[Sequence[str]], int], Sequence[JobReturn]]
VERSION_BASE = "1.3"


@contextmanager
def session() -> Iterator[None]:
    """Initialise Hydra with the shipped configs for the length of a block; the functions below that compose or parse need it.

    Raises:
        UserError: in the place of what Hydra, OmegaConf and yaml raise in the block; one sentence.
    """
    try:
        with hydra.initialize_config_dir(str(config_dir()), version_base=VERSION_BASE):
            yield
    except UserError:
        raise
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        raise UserError(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    """What an error has to say, in one sentence that a user of qprune understands."""
    sentence = " ".join(str(error).split("\n")[0].split())
    if isinstance(error, OverrideParseException):
        sentence = f"{str(error.override).lstrip('+')}: cannot be read as an override ({sentence})"
    if "RecursionError" in sentence:
        sentence = (
            "model, data: each follows the other, so they are not of one kind: networks that name classes go with data that has labels "
            "(model=mlp data=digits), those that restore images with photographs (model=half_unet data=sample)"
        )
    if "Error merging override" in sentence:
        sentence = f"{sentence.removeprefix('Error merging override ')}: a value of another kind is needed there"
    if "Ambiguous value" in sentence:
        sentence += "; for a sweep over a list of values add -m"
    return sentence


def compose(config: str, words: Sequence[str], extra: str | None = None) -> DictConfig:
    """Settings as Hydra composes them, its own section ``hydra`` included; within a ``session``.

    Args:
        config: name of the primary config.
        words: overrides.
        extra: another folder of configs, searched first.
    """
    search = [f"hydra.searchpath=[file://{Path(extra).absolute()}]"] if extra else []
    return hydra.compose(config, [*words, *search], return_hydra_config=True)


def without_hydra(settings: DictConfig) -> DictConfig:
    """A copy of composed settings without Hydra's own section."""
    return OmegaConf.masked_copy(settings, [str(key) for key in settings if key != "hydra"])


def choices(settings: DictConfig) -> Mapping[str, Any]:
    """The config that was chosen from each group, such as ``{"solver": "greedy"}``; None where none was."""
    chosen: Mapping[str, Any] = settings.hydra.runtime.choices
    return chosen


def is_sweep(settings: DictConfig) -> bool:
    """Whether composed settings ask by themselves to be a sweep, by ``hydra.mode=MULTIRUN``."""
    return bool(settings.hydra.mode is RunMode.MULTIRUN)


def swept_values(settings: DictConfig) -> dict[str, str]:
    """The lists of values by key in ``hydra.sweeper.params`` of composed settings."""
    return {str(key): value for key, value in (settings.hydra.sweeper.params or {}).items()}


def launcher_settings(settings: DictConfig) -> tuple[str, DictConfig]:
    """The launcher that composed settings choose, such as ``joblib``, and its section."""
    return str(choices(settings)["hydra/launcher"]), settings.hydra.launcher


def parse(words: list[str]) -> list[Override]:
    """Read overrides, lists of values and globs over names included; within a ``session``.

    Raises:
        UserError: by the session, where a word is no override.
    """
    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader()).parse_overrides(words)


def lines(overrides: Iterable[Override]) -> list[str]:
    """Overrides as they were written."""
    return [str(override.input_line) for override in overrides]


def is_hydra_setting(override: Override) -> bool:
    """Whether an override is of Hydra's own settings."""
    return override.key_or_group.startswith("hydra")


def changes_a_value(override: Override) -> bool:
    """Whether an override is of the form ``key=value``, so that the key has to be there; the value may be a list for a sweep."""
    return override.type is OverrideType.CHANGE


def jobs_of(overrides: list[Override]) -> Sequence[Sequence[str]]:
    """The overrides of each job of a sweep: every combination of the values in lists."""
    return BasicSweeper.split_arguments(overrides, None)[0]


def groups() -> set[str]:
    """Names of all groups of configs, such as ``solver``; within a ``session``."""
    return set(GlobalHydra.instance().config_loader().list_groups(""))


def options(group: str) -> list[str]:
    """Names of the configs in a group, such as those of ``hydra/launcher``; within a ``session``."""
    return GlobalHydra.instance().config_loader().get_group_options(group)


def argument_parser() -> ArgumentParser:
    """What reads Hydra's flags, and the overrides between them."""
    return get_args_parser()


def ask(config: str, argv: list[str]) -> int:
    """Let Hydra answer --help, --cfg, --info and shell completion.

    Args:
        config: name of the primary config.
        argv: flags and overrides; Hydra reads them from sys.argv.
    """
    sys.argv = [sys.argv[0], *argv]
    hydra.main(config_path=str(config_dir()), config_name=config, version_base=VERSION_BASE)(_nothing)()
    return 0


def _nothing(settings: DictConfig) -> None:
    """What is run where Hydra only answers."""


_nothing.__module__ = "qprune_cli.compose.launch"  # its last word is ``hydra.job.name``, as ``--cfg hydra`` shows it


@contextmanager
def launching(
    config: str, words: Sequence[str], extra: str | None, task: Callable[[DictConfig], Any]
) -> Iterator[tuple[DictConfig, Launch]]:
    """Set up the launcher of a sweep for the length of a block.

    Args:
        config: name of the primary config.
        words: overrides of Hydra's own settings, which choose the launcher.
        extra: another folder of configs, searched first.
        task: what a job does with its settings.

    Yields:
        The settings of the sweep, and what runs jobs, given the overrides of each and the number of the first.
    """
    search_path = create_config_search_path(str(config_dir()))
    if extra:
        search_path.prepend("command-line", f"file://{Path(extra).absolute()}")
    main = Hydra.create_main_hydra2("qprune", search_path)
    try:
        settings = main.compose_config(config, [*words, "hydra.mode=MULTIRUN"], RunMode.MULTIRUN)
        context = HydraContext(config_loader=main.config_loader, callbacks=Callbacks(settings))
        yield settings, Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=settings).launch
    finally:
        GlobalHydra.instance().clear()


def choices_of_this_job() -> Mapping[str, Any]:
    """The config that was chosen from each group, in the process that a launcher runs a job in."""
    chosen: Mapping[str, Any] = HydraConfig.get().runtime.choices
    return chosen
