"""What the overrides of a command ask for: one job, or the jobs of a sweep."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import RunMode
from omegaconf import DictConfig

from qprune_cli.compose.build import Composed
from qprune_cli.compose.fitting import fitting
from qprune_cli.compose.jobs import Composer, find_setting, freed, lines, parse, readable_errors, search
from qprune_cli.compose.launcher import check_launcher, described
from qprune_cli.errors import UserError
from qprune_cli.places import config_dir

NAMING = ("data", "model")  # the components that a sweep is called by, where no experiment is asked for


@dataclass(frozen=True)
class AskedSweep:
    """A sweep, beside its jobs.

    Attributes:
        title: the experiment, or what all jobs have in common.
        folder: where the user wants it; None for one below output_root.
        overrides: of each job, in Hydra's grammar, without those of Hydra's own settings.
        hydra: those of Hydra's own settings.
        launcher: who runs it (see ``described``).
    """

    title: str
    folder: Path | None
    overrides: tuple[tuple[str, ...], ...]
    hydra: tuple[str, ...]
    launcher: dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a command is to do.

    Attributes:
        jobs: composed and checked.
        sweep: where and how they are done, where they are a sweep; None for a single job.
    """

    jobs: list[Composed] = field(default_factory=list)
    sweep: AskedSweep | None = None


def compose_jobs(config: str, overrides: list[str], extra: str | None = None, multirun: bool = False) -> Asked:
    """Compose and check the settings of every job that the overrides describe.

    An experiment may be a sweep by itself: ``hydra.mode=MULTIRUN`` and the lists in ``hydra.sweeper.params``. Lists on the command line
    take the place of its own.

    Args:
        config: name of the primary config.
        overrides: in Hydra's grammar.
        extra: another folder of configs, searched first.
        multirun: whether lists of values make a sweep.

    Raises:
        UserError: unknown keys or names, a value that cannot be parsed, an alias against an explicit scorer, a launcher that is not there.
    """
    with readable_errors(), initialize_config_dir(str(config_dir()), version_base="1.3"):
        parsed = parse(freed(overrides))
        own = [override for override in parsed if not str(override.key_or_group).startswith("hydra")]
        composer = Composer(config, extra)
        for override in parsed:
            _refuse_taken(override)
        if not multirun and not any(override.key_or_group == "experiment" for override in own):
            return Asked([composer.one(freed(overrides))])
        swept = {str(override.key_or_group) for override in own if override.is_sweep_override()}
        fixed = [one for one in own if not one.is_sweep_override() and str(one.key_or_group).partition(".")[0] not in swept]
        composer.known(fixed)
        _refuse_unknown_hydra(config, [override for override in parsed if override not in own], extra)
        whole = compose(config, lines(fixed) + lines(o for o in parsed if o not in own) + search(extra), return_hydra_config=True)
        if not multirun and whole.hydra.mode is not RunMode.MULTIRUN:
            return Asked([composer.one(freed(overrides))])
        given = {override.key_or_group for override in own}
        lists = [f"{key}={value}" for key, value in (whole.hydra.sweeper.params or {}).items() if key not in given]
        every = parse(lists) + own
        roles = frozenset(str(override.key_or_group) for override in every if override.is_sweep_override())
        jobs = {words: composer.one(list(words)) for words in fitting(composer, _split(every), roles)}
        return Asked(list(jobs.values()), _sweep(whole, jobs, [override for override in parsed if override not in own]))


def _sweep(whole: DictConfig, jobs: dict[tuple[str, ...], Composed], hydra: list[Override]) -> AskedSweep:
    choices = whole.hydra.runtime.choices
    shared = "_".join(_same(job.components[role] for job in jobs.values()) for role in NAMING)
    folder = next((override.value() for override in hydra if override.key_or_group == "hydra.sweep.dir"), None)
    launcher = described(str(choices["hydra/launcher"]), whole.hydra.launcher)
    title, place = str(choices.get("experiment") or shared), Path(str(folder)) if folder else None
    return AskedSweep(title, place, tuple(jobs), tuple(lines(hydra)), launcher)


def _split(overrides: list[Override]) -> Sequence[Sequence[str]]:
    """The overrides of each job."""
    return BasicSweeper.split_arguments(overrides, None)[0]


def _same(names: Iterable[str]) -> str:
    """A name that all share."""
    one, *others = dict.fromkeys(names)
    return "various" if others else one


def _refuse_unknown_hydra(config: str, overrides: list[Override], extra: str | None) -> None:
    """Name the nearest setting for one that Hydra, or the launcher that was chosen, does not have."""
    groups = [override for override in overrides if "/" in override.key_or_group]
    whole = compose(config, lines(groups) + search(extra), return_hydra_config=True)
    for override in overrides:
        if override not in groups and override.type is OverrideType.CHANGE:
            find_setting(whole, override.key_or_group)


def _refuse_taken(override: Override) -> None:
    """Refuse what qprune does itself, and launchers that are not there."""
    key, value = str(override.key_or_group), override.value()
    if key.startswith("hydra.run"):
        raise UserError("hydra.run: qprune names its own run folders; say with output_root=FOLDER where they go")
    if key == "hydra.sweep.subdir":
        raise UserError("hydra.sweep.subdir: the settings of a job name its folder; hydra.sweep.dir=FOLDER is that of the whole sweep")
    if key == "hydra/sweeper" and value != "basic":
        raise UserError(f"hydra/sweeper={value}: lists are swept by Hydra's basic sweeper; leave it out (`qprune tune` searches)")
    if key == "hydra/launcher":
        check_launcher(str(value))
