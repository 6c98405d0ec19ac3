"""From the settings to the budgets of a run: what may stay in each round, and what it costs."""

from collections.abc import Callable
from fnmatch import fnmatchcase

import numpy as np
from torch import nn

from qprune_cli.cost.cost import Cost
from qprune_cli.cost.timing import Timing
from qprune_cli.errors import UserError, nearest
from qprune_cli.problem.budget import Budget, Limits, Prices, amount, layer_counts
from qprune_cli.run.settings import RunSettings
from qprune_cli.types import Bools, Ints, Layout

Spend = Callable[[Bools], float]


def budgets(settings: RunSettings, model: nn.Module, layout: Layout, shape: tuple[int, ...]) -> tuple[Budget, ...]:
    """One budget for each round, from the mildest to the one that was asked; each leaves the same share of the one before.

    Args:
        settings: of the run.
        model: the dense network.
        layout: its filters.
        shape: (C, H, W) that multiply-accumulates and latency are for.

    Raises:
        UserError: no mask can meet the budget.
    """
    counts, early = allowed(settings, layout), allowed(settings, layout, ceilings=False)
    left = [(1 - settings.sparsity) ** (k / settings.rounds) for k in range(1, settings.rounds + 1)]
    if settings.budget == "filters" and settings.scope == "layer":
        return tuple(_even_filters(layout, counts if share == left[-1] else early, share) for share in left)
    if settings.budget == "filters":
        last = Budget.share(layout, settings.sparsity, counts)
        return (*(Budget.share(layout, 1 - max(share, last.limit / layout.n), early) for share in left[:-1]), last)
    spend = spending(settings.budget, model, layout, shape)
    total = spend(np.ones(layout.n, bool))
    limits = [total * share for share in left]
    check_spending(settings.budget, spend, layout, counts, limits[-1], total)
    prices = Prices.probed(layout, spend)
    if settings.scope == "layer":
        counts = _even_spending(layout, counts, spend, limits[-1])
    return tuple(Budget(settings.budget, limit, counts if limit == limits[-1] else early, spend, prices) for limit in limits)


def allowed(settings: RunSettings, layout: Layout, ceilings: bool = True) -> tuple[Ints, ...]:
    """(l) numbers of filters that the settings let each layer keep, with or without the most that ``limits`` name.

    Raises:
        UserError: a limit names no layer, or leaves a layer nothing.
    """
    limits: Limits = {pattern: (low, high if ceilings else layout.n) for pattern, (low, high) in settings.limits.items()}
    return layer_counts(layout, settings.floor, settings.round_to, limits)


def spending(name: str, model: nn.Module, layout: Layout, shape: tuple[int, ...]) -> Spend:
    """What the network that a mask leaves costs, by the name of a budget."""
    if name == "latency":
        return Timing(model, layout, shape).milliseconds
    cost = Cost(model, layout, shape)
    return lambda keep: float(getattr(cost.footprint(keep), name))


def fewest_mask(layout: Layout, counts: tuple[Ints, ...]) -> Bools:
    """(n,) mask that keeps the first filters of each layer, as few as may be."""
    return np.concatenate([np.arange(group.channels) < options[0] for group, options in zip(layout.groups, counts, strict=True)])


def check_spending(name: str, spend: Spend, layout: Layout, counts: tuple[Ints, ...], limit: float, total: float) -> None:
    """Refuse a budget that even the fewest filters exceed.

    Raises:
        UserError: it says which layers hold how much.
    """
    keep = fewest_mask(layout, counts)
    least = spend(keep)
    if least <= limit:
        return
    one = tuple(np.minimum(options[:1], 1) for options in counts)
    bare, savings = spend(fewest_mask(layout, one)), []
    for layer, group in enumerate(layout.groups):
        with_one = tuple(one[k] if k == layer else options for k, options in enumerate(counts))
        savings.append((least - spend(fewest_mask(layout, with_one)), f"{group.layer} ({counts[layer][0]} filters)"))
    binding = [text for saved, text in sorted(savings, reverse=True)[:3] if saved > 0]
    floors = f"most of it because of what {', '.join(binding)} are to keep, " if binding else ""
    whole = [fixed.layer for fixed in sorted(layout.fixed, key=lambda fixed: -fixed.filters)[:3]]
    fixed = f"and what cannot be cut, such as {', '.join(whole)}" if whole else ""
    raise UserError(
        f"sparsity: {amount(name, limit)} of {amount(name, total)} may stay, but floor, limits and round_to keep at least "
        f"{amount(name, least)}: {floors}{amount(name, bare)} in one filter of each layer {fixed}; lower sparsity to at most "
        f"{np.floor(1000 * (1 - least / total)) / 1000:.3f}, or lower floor, limits or round_to"
    )


def _even_filters(layout: Layout, counts: tuple[Ints, ...], share: float) -> Budget:
    """Keep the same share of the filters of every layer, as nearly as allowed numbers let it."""
    even = evenly(layout, counts, share)
    return Budget("filters", sum(int(options[0]) for options in even), even)


def evenly(layout: Layout, counts: tuple[Ints, ...], share: float) -> tuple[Ints, ...]:
    """(l) one number for each layer: the allowed one nearest to a share of its filters, plus what the layers before it fell short of."""
    widths, short = [], 0.0
    for options, group in zip(counts, layout.groups, strict=True):
        wanted = share * group.channels + short
        widths.append(options[[np.abs(options - wanted).argmin()]])
        short = wanted - float(widths[-1][0])
    return tuple(widths)


def _even_spending(layout: Layout, counts: tuple[Ints, ...], spend: Spend, limit: float) -> tuple[Ints, ...]:
    """Let every layer keep at most the same share of its filters, the largest that can meet a limit."""
    low, high = 0.0, 1.0
    for _ in range(20):
        share = (low + high) / 2
        low, high = (share, high) if spend(fewest_mask(layout, evenly(layout, counts, share))) <= limit else (low, share)
    most = evenly(layout, counts, low)
    return tuple(options[options <= max(k[0], options[0])] for options, k in zip(counts, most, strict=True))


def kept_layers(settings: RunSettings, layers: list[str]) -> tuple[str, ...]:
    """Layers that ``include`` and ``exclude`` leave whole.

    Args:
        settings: of the run.
        layers: qualified names of all layers whose filters could go.

    Raises:
        UserError: a pattern fits no layer.
    """
    for name in ("include", "exclude"):
        for pattern in getattr(settings, name):
            if not any(fnmatchcase(layer, pattern) for layer in layers):
                raise UserError(f"{name}={pattern}: no such layer; {nearest(pattern, layers)}")
    included = [layer for layer in layers if not settings.include or any(fnmatchcase(layer, p) for p in settings.include)]
    gone = [layer for layer in included if any(fnmatchcase(layer, p) for p in settings.exclude)]
    if len(gone) == len(included):
        raise UserError("include, exclude: no layer is left that could lose filters; name fewer in exclude or more in include")
    return tuple(layer for layer in layers if layer not in included or layer in gone)
