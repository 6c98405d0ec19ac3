"""Each row against its baseline: the same seeds, the same images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from qprune_cli.compare.gather import named
from qprune_cli.compare.keys import MAY_FOLLOW, UNNAMED, Keys, determined
from qprune_cli.compare.run import Run
from qprune_cli.compare.statistics import holm, paired_t, sign_flips
from qprune_cli.compare.words import Words, fits
from qprune_cli.evaluate.interval import ci95, t95
from qprune_cli.types import Floats

LEVEL = 0.05  # below which a difference is more than chance
SAME = ("sparsity", "budget", "data", "model")  # a row and its baseline never differ in these, unless the words of the baseline say so

RowName = tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """The primary measure of a row less that of its baseline, with its intervals and tests.

    Attributes:
        mean: over the common seeds and the images.
        over_images: its 95 % interval by bootstrap.
        over_seeds: its 95 % interval by Student's t; nan for one seed.
        seeds: number of common ones.
        p: the larger one of the permutation test over images and the paired t test over seeds.
        p_holm: adjusted for the rows of the table.
    """

    mean: float
    over_images: tuple[float, float]
    over_seeds: tuple[float, float]
    seeds: int
    p: float
    p_holm: float

    @property
    def shown(self) -> bool:
        """Whether the difference is more than chance at ``LEVEL``."""
        return self.p_holm < LEVEL


@dataclass(frozen=True)
class Differences:
    """Differences of all rows that have a baseline, those baselines, and what a reader should know."""

    by_row: Mapping[RowName, Difference]
    baselines: frozenset[RowName]
    lines: tuple[str, ...]


def differences(
    keys: Keys, groups: Mapping[RowName, Sequence[Run]], seeds: Mapping[RowName, Mapping[str, Floats]], words: Words
) -> Differences:
    """Compare every row with its baseline: the same seeds, the same images.

    Args:
        keys: what names rows.
        groups: runs of each row.
        seeds: (N,) values of each row, by seed.
        words: what the runs of a baseline have in common.
    """
    baselines = frozenset(name for name, runs in groups.items() if all(fits(run, words) for run in runs))
    partners, lines = _partners(keys, groups, words, baselines)
    pairs: dict[RowName, Floats] = {}
    strangers, mixed = [], []
    for name, partner in partners.items():
        if unlike := _unlike(keys, groups[name], groups[partner], {key.split(".")[0] for key in words}):
            mixed.append(f"{_spelled(keys, name)} ({', '.join(unlike)})")
            continue
        common = [seed for seed in seeds[name] if seed in seeds[partner]]
        if common:
            pairs[name] = np.array([seeds[name][seed] - seeds[partner][seed] for seed in common])
        else:
            strangers.append(_spelled(keys, name))
    if mixed:
        lines.append(f"no difference where a row and its baseline hold runs of other settings, add these to --by: {named(mixed, '; ')}")
    if strangers:
        lines.append(f"no seed in common with the baseline: {named(strangers, '; ')}")
    if not pairs:
        return Differences({}, baselines, tuple(lines))
    lines.append(
        f"differences to the baseline are paired by seed and image; * marks p < {LEVEL} (the larger p of a permutation test over images "
        "and a paired t test over seeds, adjusted by Holm for the rows of this table), (none) all others"
    )
    if any(len(values) == 1 for values in pairs.values()):
        lines.append("with one seed in common a difference says nothing about other seeds: it was tested over the images alone")
    return Differences(dict(zip(pairs, _tested(list(pairs.values())), strict=True)), baselines, tuple(lines))


def _tested(pairs: Sequence[Floats]) -> list[Difference]:
    """The difference of each row, from its (s, N) paired differences of seeds and images; all rows are adjusted together."""
    over_images = np.array([values.mean(axis=0) for values in pairs])
    over_seeds = [values.mean(axis=1) for values in pairs]
    flips, ends = sign_flips(over_images), ci95(over_images)
    p = np.maximum(flips, [paired_t(means) if len(means) > 1 else 0.0 for means in over_seeds])
    return [
        Difference(float(values.mean()), (float(low), float(high)), t95(means) or (nan, nan), len(values), float(alone), float(adjusted))
        for values, means, (low, high), alone, adjusted in zip(pairs, over_seeds, ends, p, holm(p), strict=True)
    ]


def _partners(
    keys: Keys, groups: Mapping[RowName, Sequence[Run]], words: Words, baselines: frozenset[RowName]
) -> tuple[dict[RowName, RowName], list[str]]:
    """The baseline of each row that has one, and what to say of the others."""
    if not baselines:
        return {}, ["no run here is a baseline, so there are no differences to it"]
    every = [run for runs in groups.values() for run in runs]
    chosen = [key for key in words if key in keys.shown]
    free = {key for key in keys.shown if key not in SAME and determined(every, key, chosen)} | set(chosen)
    partners: dict[RowName, RowName] = {}
    alone: list[str] = []
    several: list[str] = []
    apart: set[str] = set()
    for name, runs in groups.items():
        if name in baselines:
            continue
        near = [other for other in baselines if not _apart(keys, name, other, free | _of_components(keys, runs[0], groups[other][0], free))]
        if len(near) > 1:
            fewest = min(len(_apart(keys, name, other, set(chosen))) for other in near)
            near = [other for other in near if len(_apart(keys, name, other, set(chosen))) == fewest]
        if len(near) == 1:
            partners[name] = near[0]
            apart |= set(_apart(keys, name, near[0], set(chosen)))
        else:
            (several if near else alone).append(_spelled(keys, name))
    lines = [f"no baseline agrees in all else with: {named(alone, '; ')}"] if alone else []
    lines += [f"several baselines fit, say more in --baseline: {named(several, '; ')}"] if several else []
    lines += [f"a row and its baseline differ also in {named(sorted(apart))}"] if apart else []
    return partners, lines


def _unlike(keys: Keys, runs: Sequence[Run], others: Sequence[Run], chosen: set[str]) -> list[str]:
    """Settings, other than those of components, whose values in a row are not those in its baseline and that name no row."""
    plain = {key for run in (*runs, *others) for key in run.settings if "." not in key}
    hidden = plain - {*keys.shown, *keys.follow, *chosen, *UNNAMED}
    values = [{key: {run.settings.get(key, "") for run in row} for key in hidden} for row in (runs, others)]
    return sorted(key for key in hidden if key not in MAY_FOLLOW and values[0][key] != values[1][key])


def _apart(keys: Keys, name: RowName, other: RowName, ignored: set[str]) -> list[str]:
    """The keys in which two rows differ, other than those that are ignored."""
    return [key for key, a, b in zip(keys.shown, name, other, strict=True) if a != b and key not in ignored]


def _of_components(keys: Keys, run: Run, other: Run, free: set[str]) -> set[str]:
    """Settings of components that two rows may differ in, where they do."""
    roles = {role for role in run.roles if role in free or role not in keys.shown}
    return {
        key for key in keys.shown for role in [key.split(".")[0]] if role in roles and run.settings.get(role) != other.settings.get(role)
    }


def _spelled(keys: Keys, name: RowName) -> str:
    """A row as words of the command line."""
    return " ".join(f"{key}={value}" for key, value in zip(keys.shown, name, strict=True) if value)
