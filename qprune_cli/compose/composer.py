"""From the overrides of one job to its settings, composed and checked."""

import copy
from collections.abc import Mapping
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from qprune_cli.compose.build import Composed
from qprune_cli.compose.choice import checked_choices, refuse_contradiction
from qprune_cli.compose.hydra import Override, changes_a_value, choices, compose, is_hydra_setting, lines, parse, without_hydra
from qprune_cli.compose.keys import check_setting


class Composer:
    """Composes jobs that share much, within a Hydra session: each choice of components is composed once.

    Args:
        config: name of the primary config.
        extra: another folder of configs, searched first.
    """

    def __init__(self, config: str, extra: str | None = None) -> None:
        self.config, self.extra = config, extra
        self._bases: dict[tuple[str, ...], DictConfig] = {}

    def one(self, words: list[str]) -> Composed:
        """Compose and check the settings of one job.

        Args:
            words: its overrides, in Hydra's grammar.

        Raises:
            UserError: unknown keys or names, an alias against an explicit scorer.
        """
        parsed = parse(words)
        overrides = [override for override in parsed if not is_hydra_setting(override)]
        base, values = self.checked(overrides)
        if len(overrides) < len(parsed) or not all(_plain(override) for override in values):
            settings = compose(self.config, words, self.extra)
        else:  # as Hydra does it
            settings = copy.deepcopy(base)
            for override in values:
                OmegaConf.update(settings, override.key_or_group, override.value())
        composed = resolved(settings, choices(settings))
        refuse_contradiction(composed.components, self.extra)
        return composed

    def checked(self, overrides: list[Override]) -> tuple[DictConfig, list[Override]]:
        """The settings of the components alone, and the overrides that change values of theirs.

        Raises:
            UserError: a group, a choice or a key does not exist; it names the nearest one that does.
        """
        choosing = checked_choices(overrides, self.extra)
        base = self._base(choosing)
        values = [override for override in overrides if override not in choosing]
        for override in values:
            if not override.is_add() and not override.is_force_add():
                check_setting(base, override.key_or_group)
        return base, values

    def base(self, overrides: list[Override]) -> DictConfig:
        """The settings of the components that overrides choose, before any value is changed.

        Raises:
            UserError: a choice does not exist.
        """
        return self._base(checked_choices(overrides, self.extra))

    def _base(self, choosing: list[Override]) -> DictConfig:
        words = tuple(lines(choosing))
        if words not in self._bases:
            self._bases[words] = compose(self.config, words, self.extra)
        return self._bases[words]


def _plain(override: Override) -> bool:
    """Whether an override gives a setting that is there another value, and no more."""
    return changes_a_value(override) and not override.is_sweep_override()


def resolved(settings: DictConfig, components: Mapping[str, Any]) -> Composed:
    """Take Hydra's own part away and fill in the interpolations.

    Args:
        settings: as Hydra composes them.
        components: the config chosen from each group; those without a section are left out.
    """
    values = cast(dict[str, Any], OmegaConf.to_container(without_hydra(settings), resolve=True))
    return Composed(values, {role: str(name) for role, name in components.items() if role in values and name})
