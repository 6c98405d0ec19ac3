"""Runs that were measured on the same images belong into one table; others do not."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from qprune_cli.compare.gather import named
from qprune_cli.compare.run import Run
from qprune_cli.compare.settings import IDLE

SAME = 1e-6  # by which values of the same images may differ
DIFFERENT = {
    "weights": "dense networks (SHA-256 of their weights)",
    "qprune": "versions of qprune",
    "commit": "commits of qprune",
    "device": "devices",
    "torch": "versions of torch",
}


@dataclass(frozen=True, eq=False)
class Block:
    """Runs that were measured on the same images by the same measures.

    Attributes:
        runs: each once.
        repeated: those that a later one repeats.
    """

    runs: tuple[Run, ...]
    repeated: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """The first run, which stands for all in what they share: images, measures, and what these give without a network."""
        return self.runs[0]

    def lines(self) -> list[str]:
        """What a reader should know of the runs: those left out, latency beside other jobs, and other means."""
        lines = []
        if self.repeated:
            names = named(run.folder.name for run in self.repeated)
            lines.append(f"the latest of runs with the same settings and seed is taken; {len(self.repeated)} left out: {names}")
            others = {run.made["weights"] for run in self.repeated} - {run.made["weights"] for run in self.runs}
            if others:
                lines.append("some that were left out are of another dense network (SHA-256 of its weights)")
        disturbed = [run for run in self.runs if not run.alone and any(np.isfinite(sizes["latency_ms"]) for sizes in run.sizes.values())]
        if disturbed:
            lines.append(f"latency of {len(disturbed)} runs was measured while other jobs of their sweep ran beside them")
        return lines + made_differently(self.runs)


def blocks(runs: Iterable[Run]) -> list[Block]:
    """Split runs by data set, images, measures, and what the images give without a network."""
    alike: list[list[Run]] = []
    for run in runs:
        block = next((those for those in alike if _same_images(those[0], run)), None)
        if block is None:
            alike.append([run])
        else:
            block.append(run)
    return [Block(*_latest(those)) for those in alike]


def _same_images(one: Run, other: Run) -> bool:
    if one.settings.get("data") != other.settings.get("data") or one.images != other.images or set(one.measures) != set(other.measures):
        return False
    first, second = one.qualities["identity"], other.qualities["identity"]
    return all(np.allclose(first[measure], second[measure], rtol=0, atol=SAME) for measure in first)


def _latest(runs: Sequence[Run]) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
    """The last run of each setting and seed, and the others."""
    by_settings: dict[frozenset[tuple[str, str]], Run] = {}
    for run in sorted(runs, key=lambda run: (run.finished, run.folder.name)):
        by_settings[frozenset(item for item in run.settings.items() if item[0] not in IDLE)] = run
    taken = {id(run) for run in by_settings.values()}
    return tuple(run for run in runs if id(run) in taken), tuple(run for run in runs if id(run) not in taken)


def made_differently(runs: Sequence[Run]) -> list[str]:
    """A line for each of versions, weights, commit and device in which runs differ, as that may be what makes them differ."""
    lines = []
    for what, many in DIFFERENT.items():
        counts = Counter(run.made[what] for run in runs)
        if len(counts) > 1:
            names = named(f"{name[:12] if what in ('weights', 'commit') else name} ({count})" for name, count in counts.most_common())
            lines.append(f"made with {len(counts)} different {many}, which may be part of a difference: {names}")
    return lines
