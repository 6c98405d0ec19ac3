"""One line of a table: what runs of the same settings measured together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from qprune_cli.compare.baseline import Difference
from qprune_cli.compare.run import Run
from qprune_cli.types import Floats


class Ends(NamedTuple):
    """A 95 % interval; nan where there is none."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Row:
    """Runs of the same settings; means over them, nan where nothing was measured.

    Attributes:
        keys: what names the row.
        runs: of all seeds.
        by_seed: (N,) values of the chosen measure, by seed.
        quality: mean of the chosen measure at the chosen stage.
        over_seeds: its interval by Student's t, for at least two seeds.
        over_images: its interval by bootstrap.
        others: means of the other measures.
        dense: mean of the chosen measure of the dense network.
        lost: quality - dense.
        lost_ends: its interval over the images, paired.
        obtained: share of the budgeted quantity that was removed.
        sizes: filters, params, macs and latency_ms as shares of the dense network's.
        fidelity: mean at the mask.
        gap: mean.
        seconds: mean.
        warnings: of all runs.
        against: the difference to the baseline; None where none was asked for, or there is no partner.
        is_baseline: whether others are compared with this row.
    """

    keys: tuple[str, ...]
    runs: tuple[Run, ...]
    by_seed: Mapping[str, Floats]
    quality: float
    over_seeds: Ends
    over_images: Ends
    others: Mapping[str, float]
    dense: float
    lost: float
    lost_ends: Ends
    obtained: float
    sizes: Mapping[str, float]
    fidelity: float
    gap: float
    seconds: float
    warnings: int
    against: Difference | None = None
    is_baseline: bool = False
