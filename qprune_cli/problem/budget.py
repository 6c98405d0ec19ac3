"""Budgets: how much may stay of a network, and which numbers of filters each layer may keep."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np

from qprune_cli.errors import UserError, nearest
from qprune_cli.problem.allocation import allowed_counts, nearest_total
from qprune_cli.types import Bools, Floats, Ints, Layout

UNITS = {"filters": (1.0, "filters"), "params": (1e6, "M params"), "macs": (1e9, "GMACs"), "latency": (1.0, "ms")}
Limits = Mapping[str, tuple[int, int]]  # fewest and most filters of the layers that a name or a pattern stands for


@dataclass(frozen=True)
class Prices:
    """A model of what numbers of filters cost: ``constant + linear . k + 1/2 k' cross k``, exact for chains of layers.

    Attributes:
        constant: cost of what cannot go.
        linear: (l,) of one filter alone.
        cross: (l, l) of a filter beside each filter of another layer; symmetric.
    """

    constant: float
    linear: Floats
    cross: Floats

    def cost(self, kept: Floats | Ints) -> float:
        """Cost of (l,) numbers of filters."""
        return float(self.constant + self.linear @ kept + 0.5 * kept @ self.cross @ kept)

    def marginal(self, kept: Floats | Ints) -> Floats:
        """(l,) cost of one more filter in each layer."""
        return np.asarray(self.linear + self.cross @ kept)

    @staticmethod
    def probed(layout: Layout, spend: Callable[[Bools], float]) -> "Prices":
        """Fit the model to what masks cost: all, half of one layer, half of two.

        Args:
            layout: the filters.
            spend: (n,) mask -> cost.
        """
        layers, layer_of = len(layout.groups), layout.layer_of
        width = np.array([group.channels for group in layout.groups], float)
        rng = np.random.default_rng(0)
        order = np.concatenate([rng.permutation(group.channels) for group in layout.groups])
        halves, quarters = (order < width[layer_of] // share for share in (2, 4))  # what goes of each layer
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
        own = np.diagonal(cross)
        slope = np.array([fall[a] / half[a] + 0.5 * half[a] * own[a] if half[a] else 0.0 for a in range(layers)])
        linear = slope - cross @ width
        return Prices(float(full - linear @ width - 0.5 * width @ cross @ width), linear, cross)


@dataclass(frozen=True)
class Budget:
    """What a mask has to meet.

    Attributes:
        name: filters, params, macs or latency.
        limit: for filters, exactly so many variables stay; otherwise at most so much is spent.
        counts: (l) numbers of filters that each layer may keep, rising.
        spend: (n,) mask -> what the network that it leaves costs; None for filters.
        prices: a model of that in the numbers of filters, where it is known already.

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
        """Keep exactly so many filters.

        Raises:
            UserError: no mask can.
        """
        counts = layer_counts(layout, floor, round_to)
        check_count(layout, counts, kept)
        return Budget("filters", kept, counts)

    @staticmethod
    def share(layout: Layout, sparsity: float, counts: Sequence[Ints]) -> "Budget":
        """Remove a share of the filters: ``round(n * (1 - sparsity))`` stay, or the nearest that allowed numbers add up to.

        Args:
            layout: the filters.
            sparsity: in [0, 1).
            counts: (l) numbers of filters that each layer may keep.

        Raises:
            UserError: no mask can keep so few, or so many.
        """
        asked = round(layout.n * (1 - sparsity))
        check_count(layout, counts, asked)
        return Budget("filters", nearest_total(counts, asked), tuple(counts))

    @property
    def exact(self) -> bool:
        """Whether the limit is a number of filters, to be met exactly."""
        return self.spend is None

    def spent(self, keep: Bools) -> float:
        """What an (n,) mask costs, in the unit of the limit."""
        return float(keep.sum()) if self.spend is None else self.spend(keep)

    def met(self, keep: Bools) -> bool:
        """Whether an (n,) mask meets the limit; the numbers in the layers are not looked at."""
        return bool(keep.sum() == self.limit) if self.spend is None else self.spend(keep) <= self.limit

    @cached_property
    def free(self) -> bool:
        """Whether every layer may keep any number between its fewest and its most."""
        return all(len(options) == options[-1] - options[0] + 1 for options in self.counts)

    @cached_property
    def fewest(self) -> Ints:
        """(l) the smallest number of filters that each layer may keep."""
        return np.array([options[0] for options in self.counts])

    @cached_property
    def most(self) -> Ints:
        """(l) the largest number of filters that each layer may keep."""
        return np.array([options[-1] for options in self.counts])

    def allows(self, kept: Ints) -> bool:
        """Whether these numbers of filters, (l), are ones that the layers may keep."""
        return all(k in options for k, options in zip(kept.tolist(), self.counts, strict=True))


def layer_counts(layout: Layout, floor: int, round_to: int = 1, limits: Limits | None = None) -> tuple[Ints, ...]:
    """Numbers of filters that each layer may keep.

    Args:
        layout: the filters.
        floor: smallest number, where no limit says otherwise.
        round_to: multiples of it only, or all.
        limits: fewest and most filters by name or pattern of layers; the last one that fits counts.

    Raises:
        UserError: a floor above a layer's width, a limit for no layer, or one that leaves nothing.
    """
    names = [[member.layer for member in group.members] for group in layout.groups]
    for pattern in limits or {}:
        if not any(fnmatchcase(name, pattern) for members in names for name in members):
            raise UserError(f"limits: {pattern}: no such layer; {nearest(pattern, [name for members in names for name in members])}")
    found = []
    for group, members in zip(layout.groups, names, strict=True):
        low, high, what = floor, group.channels, f"floor={floor}"
        for pattern, (least, most) in (limits or {}).items():
            if any(fnmatchcase(name, pattern) for name in members):
                low, high, what = least, min(most, group.channels), f"limits: {pattern}"
        if low > group.channels:
            raise UserError(f"{what}: layer '{group.layer}' is to keep {low} filters and has {group.channels}; give at most that")
        options = allowed_counts(group.channels, low, round_to)
        options = options[options <= high]
        if not len(options):
            raise UserError(
                f"limits: layer '{group.layer}' is to keep {low} to {high} filters, and no multiple of round_to={round_to} lies there; "
                "widen the limits or lower round_to"
            )
        found.append(options)
    return tuple(found)


def check_count(layout: Layout, counts: Sequence[Ints], kept: int) -> None:
    """Refuse a number of filters that no mask can keep.

    Raises:
        UserError: the numbers that the layers may keep add up to more, or to less.
    """
    least, most = (sum(int(options[place]) for options in counts) for place in (0, -1))
    if max(least, 1) <= kept <= most:
        return
    place = 0 if kept < least else -1
    bound = np.array(
        [abs((0 if kept < least else group.channels) - options[place]) for options, group in zip(counts, layout.groups, strict=True)]
    )
    layers = ", ".join(f"{layout.groups[k].layer} ({counts[k][place]})" for k in np.argsort(-bound, kind="stable")[:3])
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
    """A number of filters, parameters, multiply-accumulates or milliseconds, to be read.

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
