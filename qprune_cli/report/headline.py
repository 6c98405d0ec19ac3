"""The answer of a run in a sentence, in a few large numbers, and whether what was asked was met."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from qprune_cli.report.facts import Facts, Interval, Row
from qprune_cli.report.parts import Parts
from qprune_cli.report.text import MINUS, UNKNOWN, count, fell, listed, macs, ms, number, plain, share, size
from qprune_cli.types import Measure

SPACE = "\N{NO-BREAK SPACE}"
BUDGETS = {"filters": "filters", "params": "parameters", "macs": "MACs", "latency": "latency"}


class Card(NamedTuple):
    """A large number: what it is, its value, how it changed, and what a reader should know of it."""

    label: str
    value: str
    change: str
    note: str
    kind: str = ""


class Verdict(NamedTuple):
    """Whether something is as it should be: ``good``, ``bad`` or ``note``, and the sentence."""

    kind: str
    text: str


def signed(measure: Measure, change: Interval | None) -> str:
    r"""A difference of a measure with its unit and its interval; empty where there is none.

    Example:
        >>> signed(Measure("psnr", "PSNR", "dB", 2, 10), Interval(-0.14, -0.22, -0.08))
        '−0.14 dB [−0.22,\xa0−0.08]'
    """
    if change is None:
        return ""
    return f"{changed(measure, change)}{ends(measure, change, '+')}"


def changed(measure: Measure, change: Interval) -> str:
    """A difference alone; one that rounds to nothing has no sign."""
    text = measure.change(change.mean)
    return (f"±{text[1:]}" if float(measure.number(change.mean)) == 0 else text).replace("-", MINUS)


def ends(measure: Measure, value: Interval, sign: str = "") -> str:
    """The ends of an interval; empty where there are none."""
    if value.low is None or value.high is None:
        return ""
    return f" [{measure.number(value.low, sign)},{SPACE}{measure.number(value.high, sign)}]".replace("-", MINUS)


def network(parts: Parts) -> str:
    """Name of the network, as on the command line; a general word where the settings do not say."""
    names = parts.config.get("components")
    return str(names.get("model", "the network")) if isinstance(names, dict) else "the network"


def headline(parts: Parts, facts: Facts | None) -> str:
    """The answer of a run in a sentence: what is left of the network, and what that costs in quality."""
    name = network(parts)
    if facts is None or not (last := facts.row(facts.last)):
        return f"{name}: {'this run failed' if parts.failed else 'what it came to is not known'}"
    dense = facts.row("dense")
    sizes = _sizes(last, dense)
    quality = _quality(facts, last)
    kept = last.sizes.get("filters")
    total = dense.sizes.get("filters") if dense else None
    begin = f"{name} keeps {count(kept)} of {count(total)} filters" if kept and total else f"{name}, pruned"
    return unbroken(f"{begin}: {', '.join(sizes)}; {quality}" if sizes else f"{begin}: {quality}")


def unbroken(text: str) -> str:
    """A text in which no line breaks between a number and its unit."""
    return text.replace(" %", f"{SPACE}%").replace(" dB", f"{SPACE}dB")


def _sizes(last: Row, dense: Row | None) -> list[str]:
    if dense is None:
        return []
    fewer = [
        f"{_change(last.sizes[key], dense.sizes[key])} {name}"
        for key, name in (("params", "parameters"), ("macs", "MACs"))
        if key in last.sizes and dense.sizes.get(key)
    ]
    faster = speedup(last, dense)
    return fewer + ([f"{faster:.2f}× as fast"] if faster else [])


def _change(now: float, before: float) -> str:
    part = 1 - now / before
    return "as many" if abs(part) < 0.0005 else f"{share(abs(part), 0 if abs(part) >= 0.01 else 1)} {'fewer' if part > 0 else 'more'}"


def speedup(last: Row, dense: Row | None) -> float | None:
    """How many times as fast a network is as the dense one."""
    if dense is None or not last.sizes.get("latency_ms") or "latency_ms" not in dense.sizes:
        return None
    return dense.sizes["latency_ms"] / last.sizes["latency_ms"]


def _quality(facts: Facts, last: Row) -> str:
    value = last.values.get(facts.measure.name)
    if value is None:
        return "its quality is not known"
    quality = facts.measure.text(value.mean)
    if last.change is None:
        return quality
    text = f"{quality}, {signed(facts.measure, last.change)} against dense"
    return text if last.change.low is None or last.change.shown else f"{text}: no difference shown"


def cards(facts: Facts) -> list[Card]:
    """Quality, size and speed of what the run hands over."""
    last, dense = facts.row(facts.last), facts.row("dense")
    if last is None:
        return []
    sizes = dense.sizes if dense else {}
    made = [_quality_card(facts, last)]
    for key, label, text in (
        ("params", "Parameters", count),
        ("macs", "MACs", macs),
        ("latency_ms", "Latency", ms),
        ("file_bytes", "File", size),
    ):
        if key not in last.sizes:
            continue
        faster = speedup(last, dense) if key == "latency_ms" else None
        change = f"{faster:.2f}× as fast" if faster else fell(last.sizes[key], sizes.get(key))
        made.append(Card(label, text(last.sizes[key]), change, f"dense {text(sizes.get(key))}" if key in sizes else ""))
    return made


def _quality_card(facts: Facts, last: Row) -> Card:
    measure, value, change = facts.measure, last.values.get(facts.measure.name), last.change
    dense = facts.row("dense")
    was = dense.values.get(measure.name) if dense else None
    note = f"dense {measure.text(was.mean)}" if was else ""
    if change is None:
        return Card(measure.title, measure.text(value.mean) if value else UNKNOWN, "", note)
    none = "no difference shown" if change.low is not None and not change.shown else ""
    interval = f"95{SPACE}%{SPACE}interval{ends(measure, change, '+')}" if change.low is not None else ""
    notes = "\n".join(filter(None, [note, interval, none]))
    return Card(measure.title, measure.text(value.mean) if value else UNKNOWN, changed(measure, change), notes, "main")


def verdicts(parts: Parts) -> list[Verdict]:
    """Whether the target was met, and how many warnings there are."""
    target = _target(parts.metrics.get("sparsity"), parts.manifest)
    warnings = warnings_of(parts)
    if not isinstance(parts.metrics.get("warnings"), list):
        warned = Verdict("note", "what the run warned of is not known")
    else:
        warned = Verdict("note" if warnings else "good", listed(len(warnings), "warning") if warnings else "no warnings")
    return [target, warned] if target else [warned]


def warnings_of(parts: Parts) -> list[str]:
    """What the run says one should know."""
    warnings = parts.metrics.get("warnings")
    return [str(one) for one in warnings] if isinstance(warnings, list) else []


def _target(sparsity: Any, manifest: Mapping[str, Any]) -> Verdict | None:
    if not isinstance(sparsity, dict):
        return None
    target, got = number(sparsity.get("asked")), number(sparsity.get("got"))
    if target is None or got is None:
        return None
    digits = 0 if round(100 * target) == 100 * target and abs(got - target) < 0.0005 else 1
    budget, missed = BUDGETS.get(str(sparsity.get("budget")), "filters"), bool(manifest.get("missed"))
    removed = f"asked to remove {share(target, digits)} of the {budget}, removed {share(got, digits)}"
    return Verdict("bad" if missed else "good", f"Target {'missed' if missed else 'met'}: {removed}")


def obtained(parts: Parts) -> list[tuple[str, str, str]]:
    """What was asked and what was obtained, line by line."""
    sparsity, solution = parts.metrics.get("sparsity"), parts.solution
    sparsity = sparsity if isinstance(sparsity, dict) else {}
    budget = str(sparsity.get("budget") or solution.get("budget") or "")
    name = BUDGETS.get(budget, "filters")
    lines = [(f"share of the {name} to remove", share(sparsity.get("asked"), 1), share(sparsity.get("got"), 1))]
    if "filters" in sparsity:
        lines.append(("share of the filters (the mask counts groups of them)", "", share(sparsity["filters"], 1)))
    limit, spent = solution.get("asked"), solution.get("spent")
    unit = {"params": count, "macs": macs, "latency": ms}.get(budget, count)
    if number(limit) is not None:
        lines.append((f"{name} that {'stay' if budget == 'filters' else 'may stay'}", unit(limit), unit(spent)))
    bound, damage = number(solution.get("bound")), number(solution.get("damage"))
    if damage is not None:
        least = f"at least {plain(bound, 5)} (proven)" if bound is not None else "no bound is known"
        lines.append(("predicted damage, in the unit of the scores", least, plain(damage, 5)))
    gap = number(solution.get("gap"))
    if gap is not None:
        lines.append(("gap to the bound, a share of what the kept filters are worth", "", scaled_share(gap)))
    return lines


def scaled_share(value: float) -> str:
    """A small share in per cent, with two digits that matter."""
    return f"{100 * value:.2g} %" if value >= 1e-6 else "below 0.0001 %"
