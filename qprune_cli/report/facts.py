"""What the files of a run say of its networks: one row for each, with differences to the dense one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qprune_cli.compare.measure import measure_of
from qprune_cli.evaluate.interval import ci95
from qprune_cli.report.parts import Parts
from qprune_cli.report.text import number
from qprune_cli.types import FINAL, Measure

TITLES = {
    "dense": "dense",
    "dense_finetuned": "dense, trained on",
    "solved": "pruned",
    "refined": "refined",
    "compensated": "re-fitted",
    "finetuned": "fine-tuned",
}
MEANS = {
    "identity": "what needs no network",
    "dense": "the trained network, before anything was removed",
    "dense_finetuned": "the dense network with the same extra training",
    "solved": "the smaller network with the solver's mask and the old weights",
    "refined": "with the mask after its refinement",
    "compensated": "its weights fitted again, layer by layer, where that helps",
    "finetuned": "its weights trained on",
}
LAST = (*FINAL, "refined", "solved")  # what a run hands over: the first of these that is there
BASELINES = {"random": "random mask", "leave_one_out": "leave-one-out", "l1": "magnitude"}
BASELINE = "another scorer's mask within the same budget; of several the mean and the range"
WITHOUT = {"psnr": "noisy", "accuracy": "majority"}  # what needs no network, by the first measure


@dataclass(frozen=True)
class Interval:
    """A mean with the ends of its 95 % interval; these are None where there are none."""

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def shown(self) -> bool:
        """Whether the whole interval lies on one side of 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Row:
    """Quality and sizes of a network, or the quality of what needs none.

    Attributes:
        name: of the stage, or of the baseline.
        title: what a reader calls it.
        means: what it is.
        values: of each measure, with its interval over the images.
        change: of the first measure against the dense network, paired by image; of several masks their range.
        sizes: params, macs, filters, activation_bytes, file_bytes, latency_ms, where known.
        kind: stage, identity or baseline.
        masks: how many it is the mean of.
    """

    name: str
    title: str
    means: str
    values: Mapping[str, Interval]
    change: Interval | None
    sizes: Mapping[str, float]
    kind: str = "stage"
    masks: int = 1


@dataclass(frozen=True)
class Facts:
    """All networks of a run.

    Attributes:
        measure: what they are judged by.
        measures: all that were measured.
        rows: what needs no network, the baselines, the dense network, and the stages in the order of the run.
        last: name of the stage that the run hands over; empty where there is none.
    """

    measure: Measure
    measures: tuple[Measure, ...]
    rows: tuple[Row, ...]
    last: str

    def row(self, name: str) -> Row | None:
        """The row of a stage or baseline by its name; None where there is none."""
        return next((row for row in self.rows if row.name == name), None)


SIZES = ("params", "macs", "filters", "activation_bytes", "file_bytes", "latency_ms")


def facts(parts: Parts) -> Facts | None:
    """All networks of a run, from metrics.json, with paired differences from images.csv; None where there is no metrics.json."""
    stages, identity = parts.metrics.get("stages"), parts.metrics.get("identity")
    if not isinstance(stages, dict) or not stages:
        return None
    identity = identity if isinstance(identity, dict) else {}
    names = _measures([identity, *stages.values()])
    if not names:
        return None
    ignorant = [_row(parts, names, "identity", WITHOUT.get(names[0], "without a network"), identity, "identity")] if identity else []
    dense = _primary(stages.get("dense"), names[0])
    unlike = [name for name in _ordered(stages) if name != "refined" or parts.metrics.get("refinement") or "solved" not in stages]
    shown = [_row(parts, names, name, TITLES.get(name, name), stages[name], "stage") for name in unlike]
    rows = [*ignorant, *_baselines(parts.metrics.get("baselines"), names, dense), *shown]
    last = next((name for name in LAST if name in unlike), "")
    return Facts(measure_of(names[0]), tuple(measure_of(name) for name in names), tuple(rows), last)


def _ordered(stages: Mapping[str, Any]) -> list[str]:
    """Known stages in the order of a run, then others; those that are no entries are left out."""
    return list(dict.fromkeys(name for name in (*TITLES, *stages) if isinstance(stages.get(name), dict)))


def _measures(stages: Sequence[Any]) -> list[str]:
    """Names of what was measured: the entries that have a mean."""
    names = (
        name for stage in stages if isinstance(stage, dict) for name, value in stage.items() if isinstance(value, dict) and "mean" in value
    )
    return list(dict.fromkeys(names))


def _primary(stage: Any, measure: str) -> float | None:
    value = stage.get(measure) if isinstance(stage, dict) else None
    return number(value.get("mean")) if isinstance(value, dict) else None


def _row(parts: Parts, names: Sequence[str], name: str, title: str, stage: Mapping[str, Any], kind: str) -> Row:
    values = {measure: value for measure in names if (value := _interval(stage.get(measure))) is not None}
    change = None if name == "dense" else paired(parts, name, names[0], _primary(parts.metrics["stages"].get("dense"), names[0]), values)
    return Row(name, title, MEANS.get(name, ""), values, change, _sizes(stage), kind)


def paired(parts: Parts, name: str, measure: str, dense: float | None, values: Mapping[str, Interval]) -> Interval | None:
    """How far a stage is from the dense network, image by image; without images.csv the difference of the means alone."""
    alone = None if dense is None or measure not in values else Interval(values[measure].mean - dense)
    return _difference(parts, measure, name, "dense") or alone


def between(parts: Parts, facts: Facts, name: str, other: str) -> Interval | None:
    """How far a network is from another one, image by image; None where images.csv does not hold both."""
    return _difference(parts, facts.measure.name, name, other)


def _difference(parts: Parts, measure: str, name: str, other: str) -> Interval | None:
    values, others = (parts.images.get(stage, {}).get(measure) for stage in (name, other))
    if values is None or others is None or not len(values):
        return None
    return Interval(float((values - others).mean()), *ci95(values - others))


def _interval(value: Any) -> Interval | None:
    mean = number(value.get("mean")) if isinstance(value, dict) else None
    if mean is None:
        return None
    ends = value.get("ci95")
    low, high = (number(end) for end in ends) if isinstance(ends, list) and len(ends) == 2 else (None, None)
    return Interval(mean, low, high)


def _sizes(stage: Mapping[str, Any]) -> dict[str, float]:
    return {name: size for name in SIZES if (size := number(stage.get(name))) is not None}


def _baselines(given: Any, names: Sequence[str], dense: float | None) -> list[Row]:
    """Masks of other scorers within the same budget: one row for each scorer and stage, means and ranges over their seeds."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in given if isinstance(given, list) else []:
        stages = one.get("stages") if isinstance(one, dict) else None
        for stage, entries in stages.items() if isinstance(stages, dict) else ():
            if isinstance(entries, dict):
                groups.setdefault((str(one.get("name")), str(stage)), []).append(entries)
    return [_baseline(name, stage, masks, names, dense) for (name, stage), masks in groups.items()]


def _baseline(name: str, stage: str, masks: Sequence[Mapping[str, Any]], names: Sequence[str], dense: float | None) -> Row:
    means = {measure: [v.mean for entries in masks if (v := _interval(entries.get(measure)))] for measure in names}
    values = {measure: _range(each) for measure, each in means.items() if each}
    change = None
    if dense is not None and names[0] in values:
        change = _range([value - dense for value in means[names[0]]])
    sizes = [_sizes(entries) for entries in masks]
    mean = {key: float(np.mean([size[key] for size in sizes if key in size])) for key in SIZES if any(key in size for size in sizes)}
    title = f"{BASELINES.get(name, name)}, {TITLES.get(stage, stage)}"
    return Row(f"{name}/{stage}", title, BASELINE, values, change, mean, "baseline", len(masks))


def _range(values: Sequence[float]) -> Interval:
    """Mean and range; of one value only itself."""
    many = len(values) > 1
    return Interval(float(np.mean(values)), min(values) if many else None, max(values) if many else None)
