"""How a mask was found: the capacity search, the damage with its bound, and the refinement."""

from math import nan

import numpy as np

from qprune_cli.compare.measure import measure_of
from qprune_cli.report.chart import Chart
from qprune_cli.report.lines import Curves, Level, Series
from qprune_cli.report.parts import Parts
from qprune_cli.report.text import count, number, plain
from qprune_cli.types import Floats

# Columns of trace.csv and of epochs.csv that hold no measure.
OF_A_SEARCH = {"stage", "evaluation", "seconds", "images", "held_out", "swaps", "alpha", "kept", "kept_min", "kept_max", "energy", "damage"}
OF_A_TRAINING = {"network", "round", "epoch", "step", "lr", "loss"}


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
    limit = number(parts.solution.get("asked")) if parts.solution.get("budget") == "filters" else None
    levels = [] if limit is None else [Level(f"asked: {count(limit)}", limit, "asked", below=kept[0] > limit)]
    series = [Series("best read", steps, kept, "line s0", 0)]
    series += [Series(name, steps, values, "line thin s1") for name, values in zip(("fewest of all reads", "most"), ends, strict=True)]
    tried = (
        f"{len(rows)} capacities were tried: the best read kept {count(kept[0])} filters with the first, {count(kept[-1])} with the last"
    )
    description = tried + ("." if limit is None else f"; {count(limit)} were asked.")
    note = "The reward for each kept filter is bisected until the minimiser keeps what was asked; a repair closes what is left."
    return Curves("Capacity search", ("capacities tried", "filters kept"), series, levels, note).chart(description)


def _damage(parts: Parts, rows: list[dict[str, str]]) -> Chart | None:
    """Predicted damage by the number of kept filters, the mask that was taken, and the least that any mask can do."""
    kept, damage = _column(rows, "kept"), _column(rows, "damage")
    n = len(parts.problem.get("linear", ()))
    if np.isnan(damage).all() and n and parts.solution.get("budget") == "filters":  # energy = damage + alpha * dropped
        damage = _column(rows, "energy") - _column(rows, "alpha") * (n - kept)
    taken, at, bound = (number(parts.solution.get(name)) for name in ("damage", "kept", "bound"))
    series = [Series("met by the search", *_sorted(kept, damage), "line s0", 0)]
    outcome = ""
    if taken is not None and at is not None:
        series.append(Series("mask that was taken", [at], [taken], "", 1))
        outcome = f" The mask that was taken keeps {count(at)} and has a damage of {plain(taken, 5)}."
    levels = [] if bound is None else [Level("bound", bound, "bound", below=True)]
    outcome += "" if bound is None else f" No mask within the budget can do less than {plain(bound, 5)}."
    description = f"Predicted damage by the number of filters that stay, as met by the search.{outcome}"
    note = f"In the unit of the scores, on a logarithmic scale.{outcome}"
    return Curves("Predicted damage", ("filters kept", "damage"), series, levels, note, log=True).chart(description)


def refinement_chart(parts: Parts) -> Chart | None:
    """What the refinement measured on the images that it tuned on, and on those that it held out."""
    rows = [row for row in parts.trace if row.get("stage") == "refine"]
    if not rows:
        return None
    name = next((column for column in rows[0] if column not in OF_A_SEARCH and any(row[column] for row in rows)), "")
    measure = measure_of(name)
    spent, tuned, held_out, images = (_column(rows, column) * scale for column, scale in _scaled(name, measure.scale))
    whole = np.where(images == np.nanmax(images), tuned, np.nan) if np.isfinite(images).any() else tuned
    best = np.fmax.accumulate(whole)
    series = [
        Series("tuned images, each mask", spent, tuned, "", 6),
        Series("tuned images, best so far", spent, best, "line s0"),
        Series("held-out images", spent, held_out, "line s1", 1),
    ]
    unit = f", {measure.unit}" if measure.unit else ""
    gains = [f"{split} images {_gain(parts.refinement.get(key), measure.digits, measure.scale)}" for key, split in SPLITS.items()]
    description = f"{count(len(rows))} masks were measured; {measure.title} on the {' and on the '.join(gains)}."
    estimates = " Where fewer than all images were looked at, a dot is an estimate." if (np.diff(images) != 0).any() else ""
    return Curves("Refinement", ("evaluations", f"{measure.title}{unit}"), series, note=description + estimates).chart(description)


SPLITS = {"tuned": "tuned", "held_out": "held-out"}


def _scaled(name: str, scale: float) -> list[tuple[str, float]]:
    return [("evaluation", 1.0), (name, scale), ("held_out", scale), ("images", 1.0)]


def _gain(entry: object, digits: int, scale: float) -> str:
    """What a measure was before a refinement and after it, in words."""
    before, after = (number(entry.get(when)) if isinstance(entry, dict) else None for when in ("before", "after"))
    if before is None or after is None:
        return "is not known"
    return f"went from {before * scale:.{digits}f} to {after * scale:.{digits}f}"


def epochs_chart(parts: Parts) -> Chart | None:
    """Validation quality while the pruned network, and the dense one beside it, were trained on."""
    rows = parts.epochs
    name = next((column for column in rows[0] if column not in OF_A_TRAINING), "") if rows else ""
    if not name:
        return None
    measure, series, reached = measure_of(name), [], []
    for k, network in enumerate(dict.fromkeys(row.get("network", "") for row in rows)):
        validations = [row for row in rows if row.get("network", "") == network]
        steps, values = _all_steps(validations), _column(validations, name)
        series.append(Series(f"{network} network".strip(), steps, values * measure.scale, f"line s{k}", k))
        last = _column([row for row in validations if row.get("round", "") == validations[-1].get("round", "")], name)
        best = np.nanmax(last) if np.isfinite(last).any() else nan
        reached.append(f"the {network} network came to {measure.text(float(best))} at best")
    unit = f", {measure.unit}" if measure.unit else ""
    note = f"{measure.title} on the validation images during fine-tuning: {'; '.join(reached)}."
    return Curves("Quality while training", ("steps", f"{measure.title}{unit}"), series, note=note).chart(note)


def _all_steps(rows: list[dict[str, str]]) -> Floats:
    """Steps of all trainings of a network, one behind the other."""
    steps, rounds = _column(rows, "step"), [row.get("round", "") for row in rows]
    before = 0.0
    for one in dict.fromkeys(rounds):
        inside = np.array([other == one for other in rounds])
        steps[inside] += before
        before = float(np.nanmax(steps[inside], initial=before))
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
