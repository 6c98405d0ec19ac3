"""The nouns: frozen values that travel between the stages of a run. NumPy only, never torch.

Shapes use one alphabet: ``n`` filters (variables of the layout), ``N`` samples, ``b`` masks in a batch, ``p`` pairs, ``l`` layers. A mask
is True where a filter stays. Shares lie in [0, 1], times are in seconds, latencies in ms.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Ints = NDArray[np.integer[Any]]

REFERENCE_SIDE = 256  # multiply-accumulates, activations and latency are for one image of this side, as SIDD validates on
TASKS = ("denoise", "classify")  # what data and networks may be for
FITTING = ("channels", "side", "classes")  # attributes that data and network must agree on, where both have them
FINAL = ("finetuned", "compensated")  # stages that a run can end with, the preferred one first
SSIM_WINDOW = 11  # side in pixels of the window that SSIM averages over: no image may be smaller


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view of an array; the array itself stays writable."""
    view = array.view()
    view.flags.writeable = False
    return view


class Pair(NamedTuple):
    """One sample: what a network reads, and what it should answer.

    Attributes:
        name: name of the image.
        input: (C, H, W) float32 in [0, 1]: a noisy photograph, or the image that a classifier names.
        target: (C, H, W) float32 in [0, 1], the clean original; for a classifier the label, a 0-d int64 array.
    """

    name: str
    input: Floats
    target: NDArray[Any]


@dataclass(frozen=True, slots=True)
class ImageSet:
    """An ordered set of image pairs, whose sizes may differ.

    Attributes:
        pairs: the pairs; a large set may hold a sequence that makes each pair when it is indexed.

    Example:
        >>> grey = np.zeros((1, 8, 8), np.float32)
        >>> len(ImageSet((Pair("a", grey, grey), Pair("b", grey, grey))))
        2
    """

    pairs: Sequence[Pair]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the images, in the order of the pairs."""
        return tuple(pair.name for pair in self.pairs)

    def batches(self, size: int) -> Iterator[tuple[Floats, Floats]]:
        """Yield stacks of inputs (<=size, C, H, W) and of their targets; only neighbours of one shape share a stack."""
        chunk: list[Pair] = []
        for pair in self.pairs:  # once: a lazy sequence makes a pair anew each time
            if chunk and (len(chunk) == size or pair.input.shape != chunk[0].input.shape):
                yield np.stack([p.input for p in chunk]), np.stack([p.target for p in chunk])
                chunk = []
            chunk.append(pair)
        if chunk:
            yield np.stack([p.input for p in chunk]), np.stack([p.target for p in chunk])


class CropSource(Protocol):
    """Draws random training crops, from regions that no other split contains."""

    def check(self, size: int) -> None:
        """Raise UserError unless crops of ``size`` x ``size`` pixels can be cut from every image."""

    def draw(self, rng: np.random.Generator, count: int, size: int) -> ImageSet:
        """Cut ``count`` random crops of ``size`` x ``size`` pixels; all randomness comes from ``rng``."""


@dataclass(frozen=True, slots=True)
class Splits:
    """The four disjoint parts of a data set.

    Attributes:
        train: endless random crops; no other split contains their regions.
        calibration: images that scores are computed on and weights are re-fitted on.
        refinement: images that masks are tuned on and trainings validated on.
        test: images that results are reported on; their photographs appear in no other split.
        task: ``denoise`` or ``classify``; with ``classify`` the target of every pair is its label, a 0-d int64 array.
    """

    train: CropSource
    calibration: ImageSet
    refinement: ImageSet
    test: ImageSet
    task: str = "denoise"


class Member(NamedTuple):
    """Filters of one layer that belong to a group: variable k of the group is filter ``filters[k]`` of the layer.

    Attributes:
        layer: qualified name of the convolution or linear layer that owns the filters.
        gate: qualified name of the module on whose output the mask acts (the last activation or norm behind the layer).
        filters: numbers of the filters in the layer, one per variable of the group.
        width: number of all filters of the layer.
    """

    layer: str
    gate: str
    filters: tuple[int, ...]
    width: int


class Fixed(NamedTuple):
    """Filters of a layer that cannot be pruned, so they are no variables.

    Attributes:
        layer: qualified name of the layer.
        filters: number of its filters that must stay.
        why: the reason, as a clause that follows "stays because".
    """

    layer: str
    filters: int
    why: str


@dataclass(frozen=True, slots=True)
class FilterGroup:
    """The variables of one layer, or of several layers whose filters can only go together.

    Attributes:
        layer: name of the group: qualified name of the (first) layer that owns the filters.
        gate: qualified name of the module on whose output the mask of that layer acts.
        channels: number of variables.
        members: one entry per layer of the group, with its filters in the order of the variables; by default ``layer`` alone, with its
            filters in order.
        consumers: qualified names of the layers and whole-channel operations that read the filters.
        through: names of the operations between the filters and their consumers.
    """

    layer: str
    gate: str
    channels: int
    members: tuple[Member, ...] = ()
    consumers: tuple[str, ...] = ()
    through: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.members:
            member = Member(self.layer, self.gate, tuple(range(self.channels)), self.channels)
            object.__setattr__(self, "members", (member,))


@dataclass(frozen=True, slots=True)
class Layout:
    """All prunable filters of a network, as variables numbered 0..n-1 in network order.

    A variable is one filter, or with ``granularity="group"`` all the filters that can only go together.

    Attributes:
        groups: the variables, layer by layer: those of the first group have the smallest numbers.
        fixed: filters that are no variables, and why.
        shape: (N, C, H, W) of the example that the network was traced with.
        wrap: qualified names of the modules that were taken as black boxes (see ``trace``).

    Example:
        >>> layout = Layout((FilterGroup("a", "a", 2), FilterGroup("b", "b", 3)))
        >>> layout.n, layout.layer_of.tolist()
        (5, [0, 0, 1, 1, 1])
    """

    groups: tuple[FilterGroup, ...]
    fixed: tuple[Fixed, ...] = ()
    shape: tuple[int, ...] = ()
    wrap: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Number of variables: the length of a mask."""
        return sum(group.channels for group in self.groups)

    @property
    def layer_of(self) -> Ints:
        """(n,) index of the group that each variable belongs to."""
        return np.repeat(np.arange(len(self.groups)), [group.channels for group in self.groups])

    @property
    def sizes(self) -> Ints:
        """(n,) number of filters that each variable stands for."""
        return np.repeat([len(group.members) for group in self.groups], [group.channels for group in self.groups])

    def split(self, values: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Cut an (n, ...) array into one (channels, ...) piece per group, by the name of the group."""
        stops = np.cumsum([group.channels for group in self.groups])[:-1]
        return {g.layer: part for g, part in zip(self.groups, np.split(values, stops), strict=True)}

    def masks(self, keep: Bools) -> dict[str, Bools]:
        """Turn an (n,) mask into one (width,) mask per layer, by the name of the layer; filters that are fixed stay."""
        masks: dict[str, Bools] = {}
        for group, kept in zip(self.groups, self.split(keep).values(), strict=True):
            for member in group.members:
                mask = masks.setdefault(member.layer, np.ones(member.width, bool))
                mask[list(member.filters)] = kept
        return masks


@dataclass(frozen=True, slots=True)
class Solution:
    """A proposed mask, judged by the problem (see ``PruningProblem.judge``).

    Attributes:
        keep: (n,) True where the filter stays.
        damage: predicted rise of the loss, computed by the problem.
        feasible: whether the mask meets the budget and keeps an allowed number of filters in every layer.
        seconds: time that the solver took.
        bound: proven lower bound of the damage over all feasible masks; None where none is known.
        notes: the solver's record of its search (method, status, trace...), ready for JSON.
    """

    keep: Bools
    damage: float
    feasible: bool
    seconds: float
    bound: float | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", frozen(self.keep))


@dataclass(frozen=True, slots=True)
class Footprint:
    """Size of a network, counted and not measured.

    Attributes:
        params: number of parameters.
        macs: multiply-accumulates for one image of the stated size.
        filters: number of prunable filters; None where the network was not traced.
    """

    params: int
    macs: int
    filters: int | None


@dataclass(frozen=True, slots=True)
class Memory:
    """What a network takes in bytes.

    Attributes:
        activations: largest sum of all values that exist at once, for one image of the stated size.
        file: size of the weights as a .safetensors file.
    """

    activations: int
    file: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Time that one image takes, in ms.

    Attributes:
        median: median over the runs.
        low: lower quartile.
        high: upper quartile.
        runs: number of timed runs.
        threads: number of CPU threads that computed them.
    """

    median: float
    low: float
    high: float
    runs: int
    threads: int


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of quality, such as PSNR or accuracy, and how its values are printed.

    Attributes:
        name: its name in files.
        title: heading of its column in a table.
        unit: unit behind a printed value; empty for none.
        digits: digits behind the decimal point.
        width: width of its column in characters.
        scale: factor from the value in files to the printed one, such as 100 for shares that are printed in per cent.
        points: unit of a printed difference; empty where it is ``unit``.

    Example:
        >>> share = Measure("accuracy", "accuracy", "%", 2, 10, 100, "points")
        >>> share.text(0.985), share.change(-0.01)
        ('98.50 %', '-1.00 points')
    """

    name: str
    title: str
    unit: str
    digits: int
    width: int
    scale: float = 1
    points: str = ""

    def text(self, value: float) -> str:
        """Print a value with its unit."""
        return f"{self.number(value)} {self.unit}".rstrip()

    def change(self, value: float) -> str:
        """Print a difference of two values, with its sign and its unit."""
        return f"{self.number(value, '+')} {self.points or self.unit}".rstrip()

    def number(self, value: float, sign: str = "") -> str:
        """Print a value without its unit; ``sign="+"`` writes the sign of positive values too."""
        return f"{value * self.scale:{sign}.{self.digits}f}"


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality of a network on each of N images, by several measures.

    Attributes:
        names: names of the N images.
        measures: (N,) values by name of the measure, such as ``psnr`` in dB or ``accuracy`` as 0 or 1; networks are compared by the first.

    Example:
        >>> quality = Quality(("a", "b"), {"psnr": np.array([30.0, 32.0]), "ssim": np.array([0.9, 0.8])})
        >>> float(quality.primary.mean()), quality["ssim"].tolist()
        (31.0, [0.9, 0.8])
    """

    names: tuple[str, ...]
    measures: Mapping[str, Floats]

    def __getitem__(self, name: str) -> Floats:
        """(N,) values of a measure, by its name."""
        return self.measures[name]

    @property
    def primary(self) -> Floats:
        """(N,) values of the first measure, by which networks are compared."""
        return next(iter(self.measures.values()))


@dataclass(frozen=True, slots=True)
class Stage:
    """A network at one point of the run, as it was measured.

    Attributes:
        quality: its quality on the test images.
        footprint: its parameters, multiply-accumulates and filters.
        memory: bytes of its activations and of its file.
        latency: time per image; None where that was not measured.
    """

    quality: Quality
    footprint: Footprint
    memory: Memory
    latency: Latency | None = None


def final_stage(stages: Collection[str]) -> str:
    """The name of the stage that a run ends with: the first of ``FINAL`` among its stages, the last stage where there is none of them.

    Example:
        >>> final_stage(["dense", "compensated", "finetuned"])
        'finetuned'
    """
    return next((name for name in FINAL if name in stages), list(stages)[-1])


@dataclass(frozen=True, slots=True)
class Baseline:
    """A method whose mask the run's own mask is compared with.

    Attributes:
        name: name of its scorer.
        scorer: a component of the role ``scorer``.
        solver: a component of the role ``solver``.
        seed: seed of both the scorer and the solver.
    """

    name: str
    scorer: Any
    solver: Any
    seed: int


@dataclass(frozen=True, slots=True)
class BaselineResult:
    """The mask of a baseline, and what its network is worth.

    Attributes:
        baseline: the method.
        keep: (n,) its mask.
        footprint: size of the network that the mask leaves.
        quality: quality on the test images by stage: ``solved``, and ``compensated`` where weights were re-fitted.
    """

    baseline: Baseline
    keep: Bools
    footprint: Footprint
    quality: Mapping[str, Quality]


@dataclass(frozen=True, slots=True)
class Retrained:
    """A network that was trained on other images than its filters were chosen on.

    Attributes:
        seed: seed of its initialisation.
        name: the mask that it has: ``transferred``, ``dense``, ``own``, or the name of a baseline's scorer.
        value: the task's primary measure, averaged over the test images.
        filters: number of prunable filters that it has (variables of the layout).
        params: number of its parameters.
        seconds: time that its training took.
    """

    seed: int
    name: str
    value: float
    filters: int
    params: int
    seconds: float
