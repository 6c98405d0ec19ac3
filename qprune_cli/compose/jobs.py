"""From the overrides of a command to the settings of one job, or of the jobs of a sweep."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from qprune_cli.compose.build import Composed
from qprune_cli.compose.composer import Composer
from qprune_cli.compose.fitting import fitting
from qprune_cli.compose.hydra import (
    Override,
    changes_a_value,
    choices,
    compose,
    is_hydra_setting,
    is_sweep,
    jobs_of,
    lines,
    parse,
    session,
    swept_values,
)
from qprune_cli.compose.keys import check_setting, freed
from qprune_cli.compose.launcher import check_launcher, described
from qprune_cli.errors import UserError

NAMING = ("data", "model")  # the components that a sweep is called by, where no experiment is asked for


@dataclass(frozen=True)
class Sweep:
    """What there is to a sweep beside its jobs.

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
class Jobs:
    """What a command is to do.

    Attributes:
        jobs: composed and checked.
        sweep: where and how they are done, where they are a sweep; None for a single job.
    """

    jobs: list[Composed]
    sweep: Sweep | None = None


def compose_jobs(config: str, overrides: list[str], extra: str | None = None, multirun: bool = False) -> Jobs:
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
    words = freed(overrides)
    with session():
        parsed = parse(words)
        for override in parsed:
            _refuse_taken(override)
        composer = Composer(config, extra)
        if multirun or any(override.key_or_group == "experiment" for override in parsed):
            hydra = [override for override in parsed if is_hydra_setting(override)]
            given = [override for override in parsed if override not in hydra]
            shared = _shared(composer, given, hydra)
            if multirun or is_sweep(shared):
                return _sweep(composer, shared, given, hydra)
        return Jobs([composer.one(words)])


def _shared(composer: Composer, given: list[Override], hydra: list[Override]) -> DictConfig:
    """The settings that all jobs have, and those of Hydra: whether it is a sweep, of what, and who runs it."""
    swept = {override.key_or_group for override in given if override.is_sweep_override()}
    fixed = [one for one in given if not one.is_sweep_override() and one.key_or_group.partition(".")[0] not in swept]
    composer.checked(fixed)
    _refuse_unknown_hydra(composer, hydra)
    return compose(composer.config, lines([*fixed, *hydra]), composer.extra)


def _sweep(composer: Composer, shared: DictConfig, given: list[Override], hydra: list[Override]) -> Jobs:
    """The jobs of a sweep: every combination of the lists that are given, and of those that the experiment has beside."""
    keys = {override.key_or_group for override in given}
    overrides = parse([f"{key}={value}" for key, value in swept_values(shared).items() if key not in keys]) + given
    roles = frozenset(override.key_or_group for override in overrides if override.is_sweep_override())
    jobs = {words: composer.one(list(words)) for words in fitting(composer, jobs_of(overrides), roles)}
    common = "_".join(_same(job.components[role] for job in jobs.values()) for role in NAMING)
    folder = next((override.value() for override in hydra if override.key_or_group == "hydra.sweep.dir"), None)
    sweep = Sweep(
        title=str(choices(shared).get("experiment") or common),
        folder=Path(str(folder)) if folder else None,
        overrides=tuple(jobs),
        hydra=tuple(lines(hydra)),
        launcher=described(shared),
    )
    return Jobs(list(jobs.values()), sweep)


def _same(names: Iterable[str]) -> str:
    """A name that all share."""
    one, *others = dict.fromkeys(names)
    return "various" if others else one


def _refuse_unknown_hydra(composer: Composer, hydra: list[Override]) -> None:
    """Name the nearest setting for one that Hydra, or the launcher that was chosen, does not have."""
    choosing = [override for override in hydra if "/" in override.key_or_group]
    settings = compose(composer.config, lines(choosing), composer.extra)
    for override in hydra:
        if override not in choosing and changes_a_value(override):
            check_setting(settings, override.key_or_group)


def _refuse_taken(override: Override) -> None:
    """Refuse what qprune does itself, and launchers that are not there."""
    key, value = override.key_or_group, override.value()
    if key.startswith("hydra.run"):
        raise UserError("hydra.run: qprune names its own run folders; say with output_root=FOLDER where they go")
    if key == "hydra.sweep.subdir":
        raise UserError("hydra.sweep.subdir: the settings of a job name its folder; hydra.sweep.dir=FOLDER is that of the whole sweep")
    if key == "hydra/sweeper" and value != "basic":
        raise UserError(f"hydra/sweeper={value}: lists are swept by Hydra's basic sweeper; leave it out (`qprune tune` searches)")
    if key == "hydra/launcher":
        check_launcher(str(value))
