"""The short tables at the end of a command."""

from collections.abc import Mapping, Sequence

import numpy as np

from qprune_cli.evaluate.interval import ci95
from qprune_cli.evaluate.task import Task
from qprune_cli.types import BaselineResult, Bools, Footprint, Layout, Member, Quality, Stage, final_stage

FEW = 10**7  # multiply-accumulates
TITLES = {"dense_finetuned": "tuned dense", "solved": "pruned", "refined": "pruned", "compensated": "re-fitted", "finetuned": "fine-tuned"}


def run_table(task: Task, identity: Quality, stages: Mapping[str, Stage]) -> str:
    """What needs no network, dense and pruned network, the same re-fitted and trained, and how far the last is from the dense one."""
    rows = [train_table(task, identity, stages["dense"])]
    rows += [_row(task, TITLES[name], stage.quality) + _size(stage) for name, stage in _shown(stages).items()]
    last = stages[final_stage(stages)].quality
    lines = [paired_line(task, TITLES[list(_shown(stages))[-1]], last, stages["dense"].quality)]
    if "dense_finetuned" in stages:
        lines.append(paired_line(task, "fine-tuned", last, stages["dense_finetuned"].quality, TITLES["dense_finetuned"]))
    return "\n".join([*rows, *lines])


def _shown(stages: Mapping[str, Stage]) -> dict[str, Stage]:
    """The stages behind the dense network that differ from the one before."""
    shown: dict[str, Stage] = {}
    for name, stage in stages.items():
        if name != "solved" and name in TITLES and all(stage.quality is not other.quality for other in shown.values()):
            shown[name] = stage
    return shown


def baseline_lines(task: Task, others: Sequence[BaselineResult]) -> list[str]:
    """What masks of other scorers are worth in the same budget; of several of one scorer their mean."""
    lines = []
    for name in dict.fromkeys(other.baseline.name for other in others):
        results = [other for other in others if other.baseline.name == name]
        values_of = {
            stage: [result.quality[stage].primary.mean() for result in results if stage in result.quality]
            for stage in ("solved", "compensated")
        }
        means = {stage: task.primary.text(float(np.mean(values))) for stage, values in values_of.items() if values}
        many = f", mean of {len(results)} masks" if len(results) > 1 else ""
        lines.append(f"{name}{many}: {', '.join(f'{value} {TITLES[stage]}' for stage, value in means.items())}")
    return lines


def evaluate_table(task: Task, identity: Quality, stages: Mapping[str, Stage]) -> str:
    """What needs no network and the networks that were measured; the paired difference where both were."""
    lines = [_head(task, identity, next(iter(stages.values()))), _row(task, task.baseline_name, identity)]
    lines += [_row(task, name, stage.quality) + _size(stage) for name, stage in stages.items()]
    if "dense" in stages:
        lines.append(paired_line(task, "pruned", stages["pruned"].quality, stages["dense"].quality))
    return "\n".join(lines)


def paired_line(task: Task, name: str, quality: Quality, dense: Quality, other: str = "dense") -> str:
    """How far a network is from the dense one, image by image."""
    change, measure = quality.primary - dense.primary, task.primary
    low, high = (measure.number(end, "+") for end in ci95(change))
    return f"{name} - {other}: {measure.change(float(change.mean()))}, 95 % interval [{low}, {high}] over {len(change)} images"


def train_table(task: Task, identity: Quality, dense: Stage) -> str:
    """What needs no network, and the dense network."""
    rows = [_row(task, task.baseline_name, identity), _row(task, "dense", dense.quality) + _size(dense)]
    return "\n".join([_head(task, identity, dense), *rows])


def _head(task: Task, identity: Quality, stage: Stage) -> str:
    """Names of the columns."""
    measures = "".join(f"{task.measures[name].title:>{task.measures[name].width}}" for name in identity.measures)
    time = "" if stage.latency is None else f"{'latency':>11}"
    return f"{'':<12}{measures}{'filters':>9}{'params':>12}{'MACs':>10}{time}"


def inspect_table(layout: Layout, dead: Bools | None, rule: str, smallest: Footprint, largest: Footprint, shape: tuple[int, ...]) -> str:
    """What of a network can go.

    Args:
        layout: its filters.
        dead: (n,) True where they are 0 on all calibration images; None where nobody looked.
        rule: what says how many filters stay in each layer, such as ``floor=1``.
        smallest: what is left when no more than that stays.
        largest: what is left when nothing goes.
        shape: (C, H, W) that multiply-accumulates are counted for.
    """
    wide = max(len("layer"), *(len(_filters(member)) for group in layout.groups for member in group.members))
    lines = [f"{'layer':<{wide}}{'filters':>9}{'dead':>6}  read by (through)"]
    gone = layout.split(np.zeros(layout.n, bool) if dead is None else dead)
    for group in layout.groups:
        through = f" ({', '.join(group.through)})" if group.through else ""
        none = "?" if dead is None else f"{gone[group.layer].sum()}"
        lines.append(f"{_filters(group.members[0]):<{wide}}{group.channels:>9}{none:>6}  {', '.join(group.consumers)}{through}")
        lines += [f"{_filters(member):<{wide}}{'':>15}  together with these" for member in group.members[1:]]
    lines += ["", *(f"{_count(fixed.filters)} of {fixed.layer} stay because {fixed.why}" for fixed in layout.fixed), ""]
    filters, free = int(layout.sizes.sum()), layout.n
    dead_count = "without weights nobody knows which are dead" if dead is None else f"{dead.sum()} of {free} are dead"
    coupled = f" in {free} groups that live or die together" if filters != free else ""
    lines.append(f"{_count(filters)} can go{coupled}, {dead_count}; {_count(sum(f.filters for f in layout.fixed))} stay")
    assert smallest.filters is not None
    least = 1 - smallest.filters / filters
    lines.append(f"reachable with {rule}: sparsity 0 to {np.floor(1000 * least) / 1000:.3f}")
    for name, low, high in (
        ("filters", f"{smallest.filters:,}", f"{largest.filters:,}"),
        ("params", f"{smallest.params:,}", f"{largest.params:,}"),
        ("MACs", _macs(smallest.macs, 4), _macs(largest.macs, 4)),
    ):
        lines.append(f"  {name:<8}{low:>12} to {high:>12}")
    lines.append(f"MACs are multiply-accumulates of convolutions and linear layers for one input of shape {list(shape)}")
    return "\n".join(lines)


def _macs(count: int, digits: int) -> str:
    """Multiply-accumulates in thousand millions, or in millions where there are few."""
    return f"{count / 1e6:.{digits}f} M" if count < FEW else f"{count / 1e9:.{digits}f} G"


def _filters(member: Member) -> str:
    """Name of a layer, with the range of its filters where it is not all of them."""
    first, last = member.filters[0], member.filters[-1] + 1
    return member.layer if last - first == member.width else f"{member.layer}[{first}:{last}]"


def _count(filters: int) -> str:
    return f"{filters} filter{'s' if filters != 1 else ''}"


def _row(task: Task, name: str, quality: Quality) -> str:
    measures = ((task.measures[measure], values) for measure, values in quality.measures.items())
    return f"{name:<12}" + "".join(f"{measure.text(float(values.mean())):>{measure.width}}" for measure, values in measures)


def _size(stage: Stage) -> str:
    size = stage.footprint
    filters = "" if size.filters is None else f"{size.filters:,}"
    time = "" if stage.latency is None else f"{stage.latency.median:>8.1f} ms"
    return f"{filters:>9}{size.params:>12,}{_macs(size.macs, 3):>10}{time}"
