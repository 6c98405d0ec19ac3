"""Budgets: how much of a network may stay, and which counts of filters each layer may keep."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np

from qprune_cli.errors import UserError, nearest
from qprune_cli.problem.allocation import allowed_counts, nearest_total
from qprune_cli.types import Bools, Floats, Ints, Layout

UNITS = {"filters": (1.0, "filters"), "params": (1e6, "M params"), "macs": (1e9, "GMACs"), "latency": (1.0, "ms")}
Limits = Mapping[str, tuple[int, int]]  # fewest and most filters, by the name of a layer or a pattern of names


@dataclass(frozen=True)
class Prices:
    """A model of the cost of a network that keeps ``k`` (l,) filters: ``constant + linear . k + 1/2 k' cross k``.

    It is exact for chains of layers, where a convolution costs in proportion to its input channels times its filters.

    Attributes:
        constant: cost of what cannot be pruned.
        linear: (l,) cost of one filter of each layer alone.
        cross: (l, l) symmetric; further cost of a filter for each filter of another layer.
    """

    constant: float
    linear: Floats
    cross: Floats

    def cost(self, kept: Floats | Ints) -> float:
        """Cost of a network that keeps (l,) counts of filters, in the unit of the budget."""
        return float(self.constant + self.linear @ kept + 0.5 * kept @ self.cross @ kept)

    def marginal(self, kept: Floats | Ints) -> Floats:
        """(l,) cost of one more filter in each layer, where (l,) counts are kept."""
        return np.asarray(self.linear + self.cross @ kept)

    @staticmethod
    def probed(layout: Layout, spend: Callable[[Bools], float]) -> "Prices":
        """Fit the model to the true cost of some masks: without a half or a quarter of one layer, and without a half of two.

        Args:
            layout: the filters.
            spend: true cost of an (n,) mask.
        """
        layers, layer_of = len(layout.groups), layout.layer_of
        width = np.array([group.channels for group in layout.groups], float)
        rng = np.random.default_rng(0)
        order = np.concatenate([rng.permutation(group.channels) for group in layout.groups])
        halves, quarters = (order < width[layer_of] // share for share in (2, 4))  # filters of each layer that go
        half, quarter = (np.array([gone[layer_of == a].sum() for a in range(layers)], float) for gone in (halves, quarters))
        full = spend(np.ones(layout.n, bool))
        fall, less = (np.array([full - spend(~(gone & (layer_of == a))) for a in range(layers)]) for gone in (halves, quarters))
        cross = np.zeros((layers, layers))
        for a in range(layers):
            if quarter[a]:  # the cost falls by s g - 1/2 c g**2 when g filters go
                cross[a, a] = 2 * (less[a] / quarter[a] - fall[a] / half[a]) / (half[a] - quarter[a])
            for b in range(a):
                both = full - spend(~(halves & ((layer_of == a) | (layer_of == b))))
                cross[a, b] = cross[b, a] = (fall[a] + fall[b] - both) / max(half[a] * half[b], 1)
        curvature = np.diagonal(cross)
        slope = np.array([fall[a] / half[a] + 0.5 * half[a] * curvature[a] if half[a] else 0.0 for a in range(layers)])
        linear = slope - cross @ width
        return Prices(float(full - linear @ width - 0.5 * width @ cross @ width), linear, cross)


@dataclass(frozen=True)
class Budget:
    """What a mask has to meet: a number of filters, or a cost of the network that it leaves; and allowed counts in every layer.

    Attributes:
        name: filters, params, macs or latency.
        limit: for filters the exact number of variables that stay; otherwise the highest cost.
        counts: l arrays (c,), the counts of filters that each layer may keep, rising.
        spend: cost of the network that an (n,) mask leaves; None for filters.
        prices: a model of that cost in the counts, where one is there already; None to have it fitted when it is needed.

    Example:
        >>> from qprune_cli.types import FilterGroup
        >>> budget = Budget.filters(Layout((FilterGroup("conv", "act", 3),)), 2)
        >>> budget.met(np.array([True, False, True])), budget.met(np.ones(3, bool))
        (True, False)
    """

    name: str
    limit: float
    counts: tuple[Ints, ...]
    spend: Callable[[Bools], float] | None = None
    prices: Prices | None = None

    @staticmethod
    def filters(layout: Layout, kept: int, floor: int = 1, round_to: int = 1) -> "Budget":
        """Make the budget that keeps an exact number of filters.

        Args:
            layout: the filters.
            kept: number of filters that stay.
            floor: fewest filters of each layer.
            round_to: each layer keeps a multiple of it, or all its filters.

        Raises:
            UserError: no mask can keep that number.
        """
        counts = layer_counts(layout, floor, round_to)
        check_count(layout, counts, kept)
        return Budget("filters", kept, counts)

    @staticmethod
    def share(layout: Layout, sparsity: float, counts: Sequence[Ints]) -> "Budget":
        """Make the budget that removes a share of the filters: ``round(n * (1 - sparsity))`` stay, or the nearest total of allowed counts.

        Args:
            layout: the filters.
            sparsity: share of the filters that go, in [0, 1).
            counts: l arrays (c,), the counts of filters that each layer may keep.

        Raises:
            UserError: no mask can keep so few, or so many.
        """
        kept = round(layout.n * (1 - sparsity))
        check_count(layout, counts, kept)
        return Budget("filters", nearest_total(counts, kept), tuple(counts))

    @property
    def exact(self) -> bool:
        """Whether the limit is a number of filters, to be met exactly."""
        return self.spend is None

    def spent(self, keep: Bools) -> float:
        """Cost of an (n,) mask, in the unit of the limit."""
        return float(keep.sum()) if self.spend is None else self.spend(keep)

    def met(self, keep: Bools) -> bool:
        """Whether an (n,) mask meets the limit; the counts of the layers are not checked."""
        return bool(keep.sum() == self.limit) if self.spend is None else self.spend(keep) <= self.limit

    @cached_property
    def free(self) -> bool:
        """Whether every layer may keep any count between its fewest and its most."""
        return all(len(options) == options[-1] - options[0] + 1 for options in self.counts)

    @cached_property
    def fewest(self) -> Ints:
        """(l,) smallest count of filters that each layer may keep."""
        return np.array([options[0] for options in self.counts])

    @cached_property
    def most(self) -> Ints:
        """(l,) largest count of filters that each layer may keep."""
        return np.array([options[-1] for options in self.counts])

    def allows(self, kept: Ints) -> bool:
        """Whether every layer may keep its count of (l,) counts."""
        return all(k in options for k, options in zip(kept.tolist(), self.counts, strict=True))


def layer_counts(layout: Layout, floor: int, round_to: int = 1, limits: Limits | None = None) -> tuple[Ints, ...]:
    """The counts of filters that each layer may keep.

    Args:
        layout: the filters.
        floor: smallest count, where no limit says otherwise.
        round_to: counts are its multiples, or the full width.
        limits: fewest and most filters by name or pattern of layers; where several match a layer, the last one holds. None for none.

    Returns:
        l arrays (c,) of counts, rising.

    Raises:
        UserError: a floor above a layer's width, a limit that matches no layer, or one that allows no count.
    """
    names = [[member.layer for member in group.members] for group in layout.groups]
    for pattern in limits or {}:
        if not any(fnmatchcase(name, pattern) for members in names for name in members):
            raise UserError(f"limits: {pattern}: no such layer; {nearest(pattern, [name for members in names for name in members])}")
    counts = []
    for group, members in zip(layout.groups, names, strict=True):
        low, high, setting = floor, group.channels, f"floor={floor}"
        for pattern, (least, most) in (limits or {}).items():
            if any(fnmatchcase(name, pattern) for name in members):
                low, high, setting = least, min(most, group.channels), f"limits: {pattern}"
        if low > group.channels:
            raise UserError(f"{setting}: layer '{group.layer}' is to keep {low} filters and has {group.channels}; give at most that")
        options = allowed_counts(group.channels, low, round_to)
        options = options[options <= high]
        if not len(options):
            raise UserError(
                f"limits: layer '{group.layer}' is to keep {low} to {high} filters, and no multiple of round_to={round_to} lies there; "
                "widen the limits or lower round_to"
            )
        counts.append(options)
    return tuple(counts)


def check_count(layout: Layout, counts: Sequence[Ints], kept: int) -> None:
    """Refuse a number of filters that no mask can keep.

    Args:
        layout: the filters.
        counts: l arrays (c,), the counts that each layer may keep.
        kept: number of filters that are to stay.

    Raises:
        UserError: even the smallest counts add up to more, or even the largest ones to less.
    """
    least, most = (sum(int(options[end]) for options in counts) for end in (0, -1))
    if max(least, 1) <= kept <= most:
        return
    end = 0 if kept < least else -1
    bound = np.array(
        [abs((0 if kept < least else group.channels) - options[end]) for options, group in zip(counts, layout.groups, strict=True)]
    )
    layers = ", ".join(f"{layout.groups[k].layer} ({counts[k][end]})" for k in np.argsort(-bound, kind="stable")[:3])
    if kept < max(least, 1):
        raise UserError(
            f"sparsity: {kept} of {layout.n} filters stay, but floor, limits and round_to keep at least {max(least, 1)}, most of them in "
            f"{layers}; lower sparsity to at most {np.floor(1000 * (1 - max(least, 1) / layout.n)) / 1000:.3f}, or lower floor, limits or "
            "round_to"
        )
    raise UserError(
        f"sparsity: {kept} of {layout.n} filters stay, but the limits keep at most {most}, because of {layers}; raise sparsity to at "
        f"least {np.ceil(1000 * (1 - most / layout.n)) / 1000:.3f}, or raise the limits"
    )


def amount(name: str, value: float) -> str:
    """Print a limit or a cost in the unit of its budget: filters, parameters, multiply-accumulates or milliseconds.

    Example:
        >>> amount("macs", 8.978e9), amount("filters", 384)
        ('8.978 GMACs', '384 filters')
    """
    scale, unit = UNITS[name]
    if name == "params" and value < 1e5:
        scale, unit = 1.0, "params"
    if name == "macs" and value < 1e7:
        scale, unit = 1e6, "MMACs"
    return f"{value / scale:,.5g} {unit}" if scale == 1.0 else f"{value / scale:.4g} {unit}"
