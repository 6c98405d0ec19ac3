"""Rows: what runs of the same settings say together, over their seeds and images."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

import numpy as np

from qprune_cli.compare.baseline import differences
from qprune_cli.compare.blocks import Block
from qprune_cli.compare.keys import Keys, grouped, inside
from qprune_cli.compare.row import Ends, Row
from qprune_cli.compare.run import Run
from qprune_cli.compare.words import Words
from qprune_cli.evaluate.interval import ci95, t95
from qprune_cli.types import Floats


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of runs that were measured on the same images.

    Attributes:
        block: its runs.
        keys: names of the first columns.
        stage: what was measured.
        measure: what rows are compared by.
        rows: sorted by the keys.
        lines: what a reader should know beside.
        baseline: what the rows that others are compared with have in common; None where none are.
    """

    block: Block
    keys: tuple[str, ...]
    stage: str
    measure: str
    rows: tuple[Row, ...]
    lines: tuple[str, ...]
    baseline: Words | None

    @property
    def varying(self) -> tuple[str, ...]:
        """The keys in which its rows differ."""
        return tuple(key for k, key in enumerate(self.keys) if len({row.keys[k] for row in self.rows}) > 1)


def table(block: Block, keys: Keys, stage: str, measure: str, baseline: Words | None = None) -> Table:
    """Put the runs of a block into rows.

    Args:
        block: runs that were measured on the same images.
        keys: what names rows.
        stage: of the network.
        measure: to compare by.
        baseline: what the rows that others are compared with have in common; None compares none.
    """
    groups = grouped(block.runs, keys)
    seeds = {row: _by_seed(runs, stage, measure) for row, runs in groups.items()}
    dense = [np.mean(list(_by_seed(runs, "dense", measure).values()), axis=0) for runs in groups.values()]
    means = np.array([np.mean(list(values.values()), axis=0) for values in seeds.values()])
    images, lost = ci95(means), ci95(means - np.array(dense))
    rows = [
        _row(name, runs, seeds[name], stage, measure, float(dense[k].mean()), Ends(*images[k]), Ends(*lost[k]))
        for k, (name, runs) in enumerate(groups.items())
    ]
    lines = [*keys.lines(), *inside(groups, keys)]
    if baseline is not None:
        paired = differences(keys, groups, seeds, baseline)
        rows = [replace(row, against=paired.by_row.get(row.keys), is_baseline=row.keys in paired.baselines) for row in rows]
        lines += paired.lines
    return Table(block, keys.shown, stage, measure, tuple(rows), (*lines, *block.lines()), baseline)


def _by_seed(runs: Sequence[Run], stage: str, measure: str) -> dict[str, Floats]:
    """(N,) mean over the runs of each seed."""
    values: dict[str, list[Floats]] = {}
    for run in runs:
        values.setdefault(run.seed, []).append(run.qualities[stage][measure])
    return {seed: np.mean(those, axis=0) for seed, those in values.items()}


def _row(
    keys: tuple[str, ...],
    runs: Sequence[Run],
    by_seed: Mapping[str, Floats],
    stage: str,
    measure: str,
    dense: float,
    over_images: Ends,
    lost: Ends,
) -> Row:
    seeds = np.array([values.mean() for values in by_seed.values()])
    quality = float(seeds.mean())
    return Row(
        keys,
        tuple(runs),
        by_seed,
        quality,
        Ends(*(t95(seeds) or (nan, nan))),
        over_images,
        {other: _mean(float(run.qualities[stage][other].mean()) for run in runs) for other in runs[0].measures if other != measure},
        dense,
        quality - dense,
        lost,
        _mean(run.obtained for run in runs),
        {size: _mean(run.sizes[stage][size] for run in runs) for size in runs[0].sizes[stage]},
        _mean(run.fidelity for run in runs),
        _mean(run.gap for run in runs),
        _mean(run.seconds for run in runs),
        sum(run.warnings for run in runs),
    )


def _mean(values: Iterable[float]) -> float:
    """The mean of those that were measured, which are not nan; nan where none was."""
    measured = [value for value in values if not isnan(value)]
    return float(np.mean(measured)) if measured else nan
