"""What `qprune tune` searches: settings that take several values, those that are fixed, and the jobs that they make."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import product
from typing import Any, cast

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from qprune_cli.compose.build import Composed
from qprune_cli.compose.jobs import Composer, readable_errors, search
from qprune_cli.compose.keys import dotted, has, near
from qprune_cli.compose.space import Entry
from qprune_cli.errors import UserError, nearest
from qprune_cli.places import config_dir

SECTION = "tune"
LOOKED_AT = 1000  # combinations, to see whether those that differ are few enough to try them all
Pick = Callable[[Entry], str | float]


@dataclass(frozen=True)
class Search:
    """A search.

    Attributes:
        space: what trials may take; components come before their settings.
        given: overrides of the command that are the same in all trials.
        quiet: those of the config's own space that are.
        section: the section ``tune`` of the settings, its space taken out.
        groups: roles that a component is chosen for.
        title: the experiment, or the data and the network.
        extra: another folder of configs, searched first.
    """

    space: tuple[Entry, ...]
    given: tuple[str, ...]
    quiet: tuple[str, ...]
    section: Mapping[str, Any]
    groups: frozenset[str]
    title: str
    extra: str | None = None
    _known: dict[tuple[str, ...], frozenset[str]] = field(default_factory=dict, repr=False, compare=False)

    def composed(self, words: Sequence[str]) -> Composed:
        """Compose and check the job of a trial.

        Args:
            words: those of the trial.

        Raises:
            UserError: they do not go together.
        """
        own = [word for word in words if self.chooses(word)]
        with readable_errors(), initialize_config_dir(str(config_dir()), version_base="1.3"):
            job = self._composer.one([*self.quiet, *self.fixed(own), *words])
        return Composed({name: value for name, value in job.settings.items() if name != SECTION}, job.components)

    @cached_property
    def _composer(self) -> Composer:
        return Composer(SECTION, self.extra)

    def words(self, pick: Pick) -> tuple[str, ...]:
        """The overrides of a trial: components first, then those of the other settings that these components have.

        Args:
            pick: gives a value of an entry; it is asked only for what the trial has.
        """
        own = tuple(entry.word(pick(entry)) for entry in self.space if entry.name in self.groups)
        known = self.known(own)
        return own + tuple(entry.word(pick(entry)) for entry in self.space if entry.name not in self.groups and has(known, entry.name))

    def fixed(self, own: Sequence[str]) -> tuple[str, ...]:
        """The overrides of the command that a trial with these components has."""
        known = self.known(tuple(own))
        return tuple(word for word in self.given if self.chooses(word) or word[0] in "+~" or has(known, word.split("=", 1)[0]))

    def known(self, own: tuple[str, ...]) -> frozenset[str]:
        """Dotted names of all settings that there are with these components."""
        if own not in self._known:
            chosen = [word for word in (*self.given, *own) if self.chooses(word)]
            with readable_errors(), initialize_config_dir(str(config_dir()), version_base="1.3"):
                settings = compose(SECTION, chosen + search(self.extra))
            self._known[own] = frozenset(dotted(cast(dict[str, Any], OmegaConf.to_container(settings))))
        return self._known[own]

    def examples(self) -> Iterator[tuple[str, ...]]:
        """Words of trials that between them hold every value of the space once, of intervals both ends.

        Raises:
            UserError: a setting that no component of the space has.
        """
        for key in [*(entry.name for entry in self.space), *(word.split("=", 1)[0] for word in self.given if word[0] not in "+~")]:
            self._host(key)
        each = ((entry, value) for entry in self.space for value in entry.ends)
        yield from dict.fromkeys(self.words(partial(_given, self._host(entry.name) | {entry.name: value})) for entry, value in each)

    def grid(self, most: int) -> list[dict[str, str | float]] | None:
        """All that can be tried, as the values by key; None where that is more than ``most``."""
        count = 1
        for entry in self.space:
            count *= len(entry.values)
            if entry.endless or count > LOOKED_AT:
                return None
        found: dict[tuple[str, ...], dict[str, str | float]] = {}
        all_values: list[tuple[str | float, ...]] = [entry.values for entry in self.space]
        for values in product(*all_values):
            taken: dict[str, str | float] = {}
            words = self.words(partial(_noted, dict(zip((entry.name for entry in self.space), values, strict=True)), taken))
            found[words] = taken
            if len(found) > most:
                return None
        return list(found.values())

    def _host(self, key: str) -> dict[str, str | float]:
        """The component under which there is a setting, as the value of its role; empty where the first ones have it."""
        if key in self.groups or key.split("@")[0] in self.groups:
            return {}
        seen: set[str] = set()
        roles = [entry for entry in self.space if entry.name in self.groups]
        for host in ({}, *({role.name: value} for role in roles for value in role.values[1:])):
            known = self.known(tuple(role.word(_given(host, role)) for role in roles))
            if has(known, key):
                return host
            seen |= known
        raise UserError(f"{key}: no such setting; {nearest(key, near(key, seen))}")

    def chooses(self, word: str) -> bool:
        """Whether an override chooses a component."""
        return word.lstrip("+~").split("=", 1)[0].split("@")[0] in self.groups


def _given(values: Mapping[str, str | float], entry: Entry) -> str | float:
    return values.get(entry.name, entry.values[0])


def _noted(values: Mapping[str, str | float], taken: dict[str, str | float], entry: Entry) -> str | float:
    taken[entry.name] = values[entry.name]
    return values[entry.name]
