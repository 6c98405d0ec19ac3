"""How a mask was found: the capacity search, the damage with its bound, and the refinement."""

from math import nan

import numpy as np

from qprune_cli.compare.measure import measure_of
from qprune_cli.report.chart import Chart
from qprune_cli.report.lines import Curves, Level, Series
from qprune_cli.report.parts import Parts
from qprune_cli.report.said import count, number, plain
from qprune_cli.types import Floats


def search_charts(parts: Parts) -> list[Chart]:
    """The capacity search and the damage that it met, where the solver left a trace."""
    rows = [row for row in parts.trace if row.get("stage") == "solve"]
    return [chart for chart in (_capacities(parts, rows), _damage(parts, rows)) if chart is not None]


def _capacities(parts: Parts, rows: list[dict[str, str]]) -> Chart | None:
    """Filters that the best read keeps, capacity by capacity."""
    if not any(row.get("alpha") for row in rows):
        return None
    steps, kept = list(range(1, len(rows) + 1)), _column(rows, "kept")
    ends = (_column(rows, "kept_min"), _column(rows, "kept_max"))
    asked = number(parts.solution.get("asked")) if parts.solution.get("budget") == "filters" else None
    levels = [] if asked is None else [Level(f"asked: {count(asked)}", asked, "asked", below=kept[0] > asked)]
    series = [Series("best read", steps, kept, "line s0", 0)]
    series += [Series(name, steps, values, "line thin s1") for name, values in zip(("fewest of all reads", "most"), ends, strict=True)]
    said = f"{len(rows)} capacities were tried: the best read kept {count(kept[0])} filters with the first, {count(kept[-1])} with the last"
    said += "." if asked is None else f"; {count(asked)} were asked."
    note = "The reward for each kept filter is bisected until the minimiser keeps what was asked; a repair closes what is left."
    return Curves("Capacity search", ("capacities tried", "filters kept"), series, levels, note).chart(said)


def _damage(parts: Parts, rows: list[dict[str, str]]) -> Chart | None:
    """Predicted damage by the number of kept filters, the mask that was taken, and the least that any mask can do."""
    kept, damage = _column(rows, "kept"), _column(rows, "damage")
    n = len(parts.problem.get("linear", ()))
    if np.isnan(damage).all() and n and parts.solution.get("budget") == "filters":  # energy = damage + alpha * dropped
        damage = _column(rows, "energy") - _column(rows, "alpha") * (n - kept)
    taken, at, bound = (number(parts.solution.get(name)) for name in ("damage", "kept", "bound"))
    series = [Series("met by the search", *_sorted(kept, damage), "line s0", 0)]
    told = ""
    if taken is not None and at is not None:
        series.append(Series("mask that was taken", [at], [taken], "", 1))
        told = f" The mask that was taken keeps {count(at)} and has a damage of {plain(taken, 5)}."
    levels = [] if bound is None else [Level("bound", bound, "bound", below=True)]
    told += "" if bound is None else f" No mask within the budget can do less than {plain(bound, 5)}."
    said = f"Predicted damage by the number of filters that stay, as met by the search.{told}"
    note = f"In the unit of the scores, on a logarithmic scale.{told}"
    return Curves("Predicted damage", ("filters kept", "damage"), series, levels, note, log=True).chart(said)


def refinement_chart(parts: Parts) -> Chart | None:
    """What the refinement measured on the images that it tuned on, and on those that it held out."""
    rows = [row for row in parts.trace if row.get("stage") == "refine"]
    if not rows:
        return None
    known = {"stage", "evaluation", "seconds", "images", "held_out", "swaps", "alpha", "kept", "kept_min", "kept_max", "energy", "damage"}
    name = next((column for column in rows[0] if column not in known and any(row[column] for row in rows)), "")
    measure = measure_of(name)
    spent, tuned, held, images = (_column(rows, column) * scale for column, scale in _scaled(name, measure.scale))
    whole = np.where(images == np.nanmax(images), tuned, np.nan) if np.isfinite(images).any() else tuned
    best = np.fmax.accumulate(whole)
    series = [
        Series("tuned images, each mask", spent, tuned, "", 6),
        Series("tuned images, best so far", spent, best, "line s0"),
        Series("held-out images", spent, held, "line s1", 1),
    ]
    unit = f", {measure.unit}" if measure.unit else ""
    gains = [f"{said} images {_gain(parts.refinement.get(key), measure.digits, measure.scale)}" for key, said in SPLITS.items()]
    said = f"{count(len(rows))} masks were measured; {measure.title} on the {' and on the '.join(gains)}."
    note = f"{said} Where fewer than all images were looked at, a dot is an estimate." if (np.diff(images) != 0).any() else said
    return Curves("Refinement", ("evaluations", f"{measure.title}{unit}"), series, note=note).chart(said)


SPLITS = {"tuned": "tuned", "held_out": "held-out"}


def _scaled(name: str, scale: float) -> list[tuple[str, float]]:
    return [("evaluation", 1.0), (name, scale), ("held_out", scale), ("images", 1.0)]


def _gain(entry: object, digits: int, scale: float) -> str:
    """Before and after a refinement."""
    before, after = (number(entry.get(when)) if isinstance(entry, dict) else None for when in ("before", "after"))
    if before is None or after is None:
        return "is not known"
    return f"went from {before * scale:.{digits}f} to {after * scale:.{digits}f}"


def epochs_chart(parts: Parts) -> Chart | None:
    """Validation quality while the pruned network, and the dense one beside it, were trained on."""
    rows = parts.epochs
    known = {"network", "round", "epoch", "step", "lr", "loss"}
    name = next((column for column in rows[0] if column not in known), "") if rows else ""
    if not name:
        return None
    measure, series, told = measure_of(name), [], []
    for k, network in enumerate(dict.fromkeys(row.get("network", "") for row in rows)):
        own = [row for row in rows if row.get("network", "") == network]
        steps, values = _all_steps(own), _column(own, name)
        series.append(Series(f"{network} network".strip(), steps, values * measure.scale, f"line s{k}", k))
        last = [row for row in own if row.get("round", "") == own[-1].get("round", "")]
        reached = _column(last, name)
        best = np.nanmax(reached) if np.isfinite(reached).any() else nan
        told.append(f"the {network} network came to {measure.text(float(best))} at best")
    unit = f", {measure.unit}" if measure.unit else ""
    said = f"{measure.title} on the validation images during fine-tuning: {'; '.join(told)}."
    return Curves("Quality while training", ("steps", f"{measure.title}{unit}"), series, note=said).chart(said)


def _all_steps(rows: list[dict[str, str]]) -> Floats:
    """Steps of all trainings of a network, one behind the other."""
    steps, rounds = _column(rows, "step"), [row.get("round", "") for row in rows]
    before = 0.0
    for one in dict.fromkeys(rounds):
        own = np.array([other == one for other in rounds])
        steps[own] += before
        before = float(np.nanmax(steps[own], initial=before))
    return steps


def _column(rows: list[dict[str, str]], name: str) -> Floats:
    """Numbers of a column; nan where there is none."""
    return np.array([_float(row.get(name, "")) for row in rows], float)


def _float(word: str | None) -> float:
    try:
        return float(word or "nan")
    except ValueError:
        return nan


def _sorted(x: Floats, y: Floats) -> tuple[list[float], list[float]]:
    order = np.argsort(x, kind="stable")
    return [float(value) for value in x[order]], [float(value) for value in y[order]]
