"""What happened to each layer: how many filters stay, what they are worth, and what they have in common."""

from dataclasses import dataclass

import numpy as np

from qprune_cli.report.chart import Chart, block
from qprune_cli.report.heat import heat
from qprune_cli.report.parts import Parts
from qprune_cli.report.scale import Scale, short
from qprune_cli.report.svg import node, picture
from qprune_cli.report.text import count
from qprune_cli.types import Bools, Floats

ROW, NAME, END = 33.0, 1.0, 399.0
COLUMNS, FEWEST = 3, 4  # at most so many charts side by side, of at least so many layers
CHOSEN = 3  # layers whose scores are shown
LETTERS = 46  # of a layer's name


@dataclass(frozen=True)
class Layer:
    """A layer, or a group of filters that live or die together.

    Attributes:
        name: of the layer.
        at: its filters among all.
        keep: (channels,) which stay.
        dead: (channels,) which are 0 on all calibration images; None where nobody looked.
    """

    name: str
    at: slice
    keep: Bools
    dead: Bools | None

    @property
    def kept(self) -> int:
        """The number of filters that stay."""
        return int(self.keep.sum())

    @property
    def lost(self) -> float:
        """The share of the filters that goes, in [0, 1]."""
        return 1 - self.kept / len(self.keep)

    @property
    def text(self) -> str:
        """How many filters stay, and how many of all are dead, in words."""
        dead = "" if self.dead is None else f", {count(self.dead.sum())} of all are dead"
        return f"{count(self.kept)} of {count(len(self.keep))} stay{dead}"


def layers(parts: Parts) -> list[Layer]:
    """The layers of a run, from its mask and its problem; empty where one of the two is not there."""
    keep, layer_of = parts.mask.get("keep"), parts.problem.get("layer_of")
    if keep is None or layer_of is None or keep.shape != layer_of.shape:
        return []
    keep, dead = keep.astype(bool), parts.scores.get("dead")
    stops = np.flatnonzero(np.diff(layer_of)) + 1
    starts = [0, *stops.tolist(), len(keep)]
    names = _names(parts, len(starts) - 1)
    every = []
    for k, name in enumerate(names):
        at = slice(starts[k], starts[k + 1])
        every.append(Layer(name, at, keep[at], dead[at].astype(bool) if dead is not None and dead.shape == keep.shape else None))
    return every


def _names(parts: Parts, count: int) -> list[str]:
    """Names of the layers: as the solution has them, else as the mask, else by number."""
    kept = parts.solution.get("kept_per_layer")
    for names in (list(kept) if isinstance(kept, dict) else [], [name for name in parts.mask if name != "keep"]):
        if len(names) == count:
            return names
    return [f"layer {k + 1}" for k in range(count)]


def kept_charts(every: list[Layer]) -> list[Chart]:
    """A bar for each layer: what stays, what goes, and what of that was dead; up to three columns."""
    size = max(FEWEST, -(-len(every) // COLUMNS))
    return [_kept(every, every[k : k + size], k) for k in range(0, len(every), size)]


def _kept(every: list[Layer], shown: list[Layer], first: int) -> Chart:
    widest = max(len(layer.keep) for layer in every)
    across = Scale(0, widest, NAME, END)
    parts = [node("g", *_bar(across, layer), transform=f"translate(0 {k * ROW:.1f})") for k, layer in enumerate(shown)]
    gone = sorted(shown, key=lambda layer: layer.lost)
    description = f"{gone[-1].name} loses most: {gone[-1].text}; {gone[0].name} least: {gone[0].text}."
    legend = [(block("kept"), "stays"), (block("gone"), "goes")]
    if any(layer.dead is not None for layer in every):
        legend.append((block("dead"), "goes, was dead on all calibration images"))
    title = f"Filters that stay, layers {first + 1}–{first + len(shown)}" if len(shown) < len(every) else "Filters that stay"
    return Chart(title, picture(400, len(shown) * ROW - 4, title, description, *parts), "", [] if first else legend)


def _bar(across: Scale, layer: Layer) -> list[object]:
    dead = int((~layer.keep & layer.dead).sum()) if layer.dead is not None else 0
    ends = [0, layer.kept, len(layer.keep) - dead, len(layer.keep)]
    name = layer.name if len(layer.name) <= LETTERS else f"{layer.name[: LETTERS // 2]}…{layer.name[-LETTERS // 2 :]}"
    counts = f"{layer.kept} / {len(layer.keep)}" + (f", {dead} dead" if dead else "")
    drawn: list[object] = [
        node("text", name, x=NAME, y=13.0, class_="tick"),
        node("text", counts, x=END, y=13.0, class_="tick end strong"),
    ]
    for kind, start, end in zip(("kept", "gone", "dead"), ends, ends[1:], strict=False):
        if end > start:
            drawn.append(node("rect", x=across(start), width=across(end) - across(start), y=18.0, height=9.0, class_=kind))
    return drawn


def chosen(every: list[Layer]) -> list[Layer]:
    """The layers that lost the largest, the middle and the smallest share of their filters, of those that lost some."""
    cut = sorted((layer for layer in every if layer.lost > 0), key=lambda layer: (-layer.lost, layer.name))
    if len(cut) <= CHOSEN:
        return cut
    return [cut[0], cut[len(cut) // 2], cut[-1]]


def scores_chart(layer: Layer, linear: Floats) -> Chart | None:
    """What each filter of a layer is worth alone, of the (n,) linear scores, from the largest down, and which stay."""
    values = np.asarray(linear, float)[layer.at]
    if len(values) != len(layer.keep) or not np.isfinite(values).all():
        return None
    order = np.argsort(-values, kind="stable")
    low, high = min(0.0, float(values.min())), max(float(values.max()), 1e-12)
    up, wide = Scale(low, high, 148, 22), 340 / len(values)
    parts: list[object] = [node("text", "score of a filter alone", x=2.0, y=11.0, class_="axis")]
    for tick in up.ticks(3):
        parts.append(node("line", x1=52, x2=394, y1=up(tick), y2=up(tick), class_="grid"))
        parts.append(node("text", short(tick), x=47, y=up(tick) + 4, class_="tick end"))
    for k, i in enumerate(order):
        top, bottom = sorted((up(float(values[i])), up(0.0)))
        kind = "kept" if layer.keep[i] else "gone"
        height = max(bottom - top, 1.2)
        parts.append(node("rect", x=53 + k * wide, width=wide - (0.8 if wide > 3 else 0.0), y=bottom - height, height=height, class_=kind))
    parts.append(node("text", f"{len(values)} filters, by score", x=394.0, y=166.0, class_="axis end"))
    agree = (np.sort(order[: layer.kept]) == np.flatnonzero(layer.keep)).all()
    by_score = (
        "these have the largest scores of the layer" if agree else "not all of these have the largest scores: the others count as well"
    )
    note = f"{layer.text}; {by_score}."
    drawing = picture(
        400,
        172,
        f"Scores of {layer.name}",
        f"Scores from {short(float(values.max()))} down to {short(float(values.min()))}. {note}",
        *parts,
    )
    return Chart("", drawing, note[0].upper() + note[1:], [(block("kept"), "stays"), (block("gone"), "goes")])


def pairs_chart(layer: Layer, scores: dict[str, Floats]) -> Chart | None:
    """What filters of a layer have in common: the further damage when both go."""
    matrix = coupled(layer, scores)
    if matrix is None or not np.isfinite(matrix).all() or not matrix.any():
        return None
    order = np.argsort(~layer.keep, kind="stable")
    both = matrix[np.ix_(order, order)]
    upper = matrix[np.triu_indices(len(matrix), 1)]
    strongest, size = short(float(f"{np.abs(upper).max():.3g}")), len(both)
    alt = f"Pair weights of {size} by {size} filters of {layer.name}; the strongest is {strongest}, the mean {short(float(upper.mean()))}."
    colours = "dark is none, bright" if upper.min() >= 0 else "blue saves, yellow costs, up to"
    note = f"What pairs of filters cost beyond their scores when both go: {colours} {strongest}."
    note += " Filters that stay come first, up to the notches."
    return Chart("", heat(both, layer.kept, alt), note)


def coupled(layer: Layer, scores: dict[str, Floats]) -> Floats | None:
    """(channels, channels) weights of the pairs of a layer: those listed, and those of the factor; None where there are none."""
    size = len(layer.keep)
    matrix, any_at_all = np.zeros((size, size)), False
    if {"i", "j", "weight"} <= scores.keys():
        i, j = (scores[name].astype(int) for name in ("i", "j"))
        inside = (i >= layer.at.start) & (i < layer.at.stop) & (j >= layer.at.start) & (j < layer.at.stop)
        a, b = i[inside] - layer.at.start, j[inside] - layer.at.start
        matrix[a, b] = matrix[b, a] = scores["weight"][inside]
        any_at_all = bool(inside.any())
    if "factor" in scores:
        factor = np.asarray(scores["factor"], float)[:, layer.at]
        matrix += factor.T @ factor
        any_at_all = True
    np.fill_diagonal(matrix, 0)
    return matrix if any_at_all else None
