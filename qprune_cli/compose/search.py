"""What `qprune tune` searches: settings that take several values, those that are fixed, and the jobs that they make."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import product
from typing import Any, cast

from omegaconf import OmegaConf

from qprune_cli.compose.build import Composed
from qprune_cli.compose.composer import Composer
from qprune_cli.compose.hydra import compose, session, without_hydra
from qprune_cli.compose.keys import dotted, has, near
from qprune_cli.compose.space import Entry
from qprune_cli.errors import UserError, nearest

SECTION = "tune"
LOOKED_AT = 1000  # combinations, to see whether those that differ are few enough to try them all
Pick = Callable[[Entry], str | float]


@dataclass(frozen=True)
class Search:
    """A search over settings, as the command line and the configs describe it.

    Attributes:
        space: what trials may take; components come before their settings.
        given: overrides of the command that are the same in all trials.
        constants: overrides of the config's own space that are the same in all trials, such as ``latency=false``.
        section: the section ``tune`` of the settings, its space taken out.
        groups: roles that a component is chosen for.
        title: the experiment, or the data and the network.
        extra: another folder of configs, searched first.
    """

    space: tuple[Entry, ...]
    given: tuple[str, ...]
    constants: tuple[str, ...]
    section: Mapping[str, Any]
    groups: frozenset[str]
    title: str
    extra: str | None = None
    _names: dict[tuple[str, ...], frozenset[str]] = field(default_factory=dict, repr=False, compare=False)

    def composed(self, words: Sequence[str]) -> Composed:
        """Compose and check the job of a trial.

        Args:
            words: those of the trial.

        Raises:
            UserError: they do not go together.
        """
        components = [word for word in words if self.chooses(word)]
        with session():
            job = self._composer.one([*self.constants, *self.fixed(components), *words])
        return Composed({name: value for name, value in job.settings.items() if name != SECTION}, job.components)

    @cached_property
    def _composer(self) -> Composer:
        return Composer(SECTION, self.extra)

    def words(self, pick: Pick) -> tuple[str, ...]:
        """The overrides of a trial: components first, then those of the other settings that these components have.

        Args:
            pick: gives a value of an entry; it is asked only for what the trial has.
        """
        components = tuple(entry.word(pick(entry)) for entry in self.space if entry.name in self.groups)
        names = self.setting_names(components)
        others = (entry for entry in self.space if entry.name not in self.groups and has(names, entry.name))
        return components + tuple(entry.word(pick(entry)) for entry in others)

    def fixed(self, components: Sequence[str]) -> tuple[str, ...]:
        """The overrides of the command that a trial with these components has.

        Args:
            components: overrides that choose them, such as ``scorer=gram``.
        """
        names = self.setting_names(tuple(components))
        return tuple(word for word in self.given if self.chooses(word) or word[0] in "+~" or has(names, word.split("=", 1)[0]))

    def setting_names(self, components: tuple[str, ...]) -> frozenset[str]:
        """Dotted names of all settings that there are with these components.

        Args:
            components: overrides that choose them, beside those of the command.
        """
        if components not in self._names:
            choosing = [word for word in (*self.given, *components) if self.chooses(word)]
            with session():
                settings = without_hydra(compose(SECTION, choosing, self.extra))
            self._names[components] = frozenset(dotted(cast(dict[str, Any], OmegaConf.to_container(settings))))
        return self._names[components]

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
        """All combinations that can be tried.

        Args:
            most: combinations to list.

        Returns:
            The values by key of each, without settings that its components do not have; None where there are more.
        """
        count = 1
        for entry in self.space:
            count *= len(entry.values)
            if entry.endless or count > LOOKED_AT:
                return None
        combinations: dict[tuple[str, ...], dict[str, str | float]] = {}
        values_of_each: list[tuple[str | float, ...]] = [entry.values for entry in self.space]
        for values in product(*values_of_each):
            by_name = {entry.name: value for entry, value in zip(self.space, values, strict=True)}
            words = self.words(partial(_given, by_name))
            combinations[words] = {entry.name: by_name[entry.name] for entry in self.space if entry.word(by_name[entry.name]) in words}
            if len(combinations) > most:
                return None
        return list(combinations.values())

    def _host(self, key: str) -> dict[str, str | float]:
        """The component under which there is a setting, as the value of its role; empty where the first ones have it."""
        if key in self.groups or key.split("@")[0] in self.groups:
            return {}
        seen: set[str] = set()
        roles = [entry for entry in self.space if entry.name in self.groups]
        for host in ({}, *({role.name: value} for role in roles for value in role.values[1:])):
            names = self.setting_names(tuple(role.word(_given(host, role)) for role in roles))
            if has(names, key):
                return host
            seen |= names
        raise UserError(f"{key}: no such setting; {nearest(key, near(key, seen))}")

    def chooses(self, word: str) -> bool:
        """Whether an override chooses a component."""
        return word.lstrip("+~").split("=", 1)[0].split("@")[0] in self.groups


def _given(values: Mapping[str, str | float], entry: Entry) -> str | float:
    """The value that is given for an entry, or else its first one."""
    return values.get(entry.name, entry.values[0])
