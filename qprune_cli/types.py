"""The nouns: frozen values that travel between the stages. NumPy only, never torch.

Shapes use one alphabet: ``n`` filters, ``N`` samples, ``b`` masks in a batch, ``p`` pairs, ``l`` layers.
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
FITTING = ("channels", "side", "classes")  # of images and networks, where both say
FINAL = ("finetuned", "compensated")  # what the last stage of a run may be
SSIM_WINDOW = 11  # side in pixels of the window that SSIM looks through: no image may be smaller


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view of an array."""
    view = array.view()
    view.flags.writeable = False
    return view


class Pair(NamedTuple):
    """What a network is given and what it is to give.

    Attributes:
        name: of the image.
        input: (C, H, W) float32 in [0, 1]: a noisy photograph, or the image that a classifier names.
        target: its clean original, as large; or the label of the class, a 0-d int64 array.
    """

    name: str
    input: Floats
    target: NDArray[Any]


@dataclass(frozen=True, slots=True)
class ImageSet:
    """An ordered set of image pairs; sizes may differ from pair to pair. A large one may make its pairs when asked for them.

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
        """Names of the images, in order."""
        return tuple(pair.name for pair in self.pairs)

    def batches(self, size: int) -> Iterator[tuple[Floats, Floats]]:
        """Yield stacks of inputs (<=size, C, H, W) and their targets; only neighbours of one shape share a stack."""
        chunk: list[Pair] = []
        for pair in self.pairs:  # each is made once, where they are made when asked for
            if chunk and (len(chunk) == size or pair.input.shape != chunk[0].input.shape):
                yield np.stack([p.input for p in chunk]), np.stack([p.target for p in chunk])
                chunk = []
            chunk.append(pair)
        if chunk:
            yield np.stack([p.input for p in chunk]), np.stack([p.target for p in chunk])


class CropSource(Protocol):
    """Where training crops come from."""

    def check(self, size: int) -> None:
        """Raise UserError unless crops of ``size`` x ``size`` pixels can be cut from every image."""

    def draw(self, rng: np.random.Generator, count: int, size: int) -> ImageSet:
        """Cut ``count`` random crops of ``size`` x ``size`` pixels."""


@dataclass(frozen=True, slots=True)
class Splits:
    """The four disjoint parts of a data set.

    Attributes:
        train: endless random crops; nothing else sees their regions.
        calibration: what scores are computed on.
        refinement: what masks are tuned on.
        test: what is reported; its photographs appear in no other part.
        task: ``denoise``, or ``classify``: then the ``target`` of every pair is its label, a 0-d int64 array.
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
        filters: the filters, one per variable of the group.
        width: filters that the layer has in all.
    """

    layer: str
    gate: str
    filters: tuple[int, ...]
    width: int


class Fixed(NamedTuple):
    """Filters of a layer that must stay.

    Attributes:
        layer: qualified name of the layer.
        filters: how many of its filters.
        why: the reason, to be read behind "stays because".
    """

    layer: str
    filters: int
    why: str


@dataclass(frozen=True, slots=True)
class FilterGroup:
    """The variables of one layer; where filters are coupled, those of all layers that share them.

    Attributes:
        layer: name of the group: qualified name of the (first) layer that owns the filters.
        gate: qualified name of the module on whose output the mask of that layer acts.
        channels: number of variables.
        members: the filters of each variable; left out, the filters of ``layer`` one by one.
        consumers: qualified names of the layers and whole-channel operations that read the filters.
        through: operations between the filters and their consumers.
    """

    layer: str
    gate: str
    channels: int
    members: tuple[Member, ...] = ()
    consumers: tuple[str, ...] = ()
    through: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.members:
            alone = Member(self.layer, self.gate, tuple(range(self.channels)), self.channels)
            object.__setattr__(self, "members", (alone,))


@dataclass(frozen=True, slots=True)
class Layout:
    """All prunable filters of a network, as variables numbered 0..n-1 in network order.

    A variable is one filter, or with ``granularity="group"`` all the filters that can only go together.

    Attributes:
        groups: the variables, by layer.
        fixed: filters that are no variables, and why.
        shape: (N, C, H, W) of the example that the network was traced with.
        wrap: what was taken as a black box (see ``trace``).

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
        """Number of variables."""
        return sum(group.channels for group in self.groups)

    @property
    def layer_of(self) -> Ints:
        """(n,) index of the group that each variable belongs to."""
        return np.repeat(np.arange(len(self.groups)), [group.channels for group in self.groups])

    @property
    def sizes(self) -> Ints:
        """(n,) filters that each variable stands for."""
        return np.repeat([len(group.members) for group in self.groups], [group.channels for group in self.groups])

    def split(self, values: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Cut an (n, ...) array into one piece per group, by its name."""
        stops = np.cumsum([group.channels for group in self.groups])[:-1]
        return {g.layer: part for g, part in zip(self.groups, np.split(values, stops), strict=True)}

    def masks(self, keep: Bools) -> dict[str, Bools]:
        """Turn an (n,) mask into one (filters,) mask per layer, by layer name; filters that are fixed stay."""
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
        feasible: whether the mask meets budget and floors.
        seconds: time the solver took.
        bound: proven lower bound of the damage, None where none is known.
        notes: what the solver has to say about how it went, ready for JSON.
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
    """Size of a network: weights, multiply-accumulates for one stated input, prunable filters (None: not traced)."""

    params: int
    macs: int
    filters: int | None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: of all values that exist at once for one image of the stated size, and of the weights as a .safetensors file."""

    activations: int
    file: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Time of one image in ms: median and quartiles over so many runs, with so many threads."""

    median: float
    low: float
    high: float
    runs: int
    threads: int


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that networks are judged by, and how its values are printed.

    Attributes:
        name: in files.
        title: above its column in a table.
        unit: behind a printed value; empty for none.
        digits: behind the decimal point.
        width: of its column.
        scale: a printed value is so many times the one in files.
        points: unit of a difference, where that is another.

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
        """A value to be read."""
        return f"{self.number(value)} {self.unit}".rstrip()

    def change(self, value: float) -> str:
        """A difference to be read, with its sign."""
        return f"{self.number(value, '+')} {self.points or self.unit}".rstrip()

    def number(self, value: float, sign: str = "") -> str:
        """The same without the unit; ``sign="+"`` shows the sign of what is positive."""
        return f"{value * self.scale:{sign}.{self.digits}f}"


@dataclass(frozen=True, slots=True)
class Quality:
    """What a network is worth on each image, by several measures.

    Attributes:
        names: (N,) of the images.
        measures: (N,) values by name of the measure, such as ``psnr`` in dB or ``accuracy`` as 0 or 1; networks are compared by the first.

    Example:
        >>> quality = Quality(("a", "b"), {"psnr": np.array([30.0, 32.0]), "ssim": np.array([0.9, 0.8])})
        >>> float(quality.primary.mean()), quality["ssim"].tolist()
        (31.0, [0.9, 0.8])
    """

    names: tuple[str, ...]
    measures: Mapping[str, Floats]

    def __getitem__(self, name: str) -> Floats:
        """(N,) values of a measure."""
        return self.measures[name]

    @property
    def primary(self) -> Floats:
        """(N,) values of the first measure."""
        return next(iter(self.measures.values()))


@dataclass(frozen=True, slots=True)
class Stage:
    """A network at one point of the run: its quality on the test images, its size, and its latency where that was measured."""

    quality: Quality
    footprint: Footprint
    memory: Memory
    latency: Latency | None = None


def final_stage(stages: Collection[str]) -> str:
    """The network as it leaves a run, among the names of its stages; where there is no such one, the last.

    Example:
        >>> final_stage(["dense", "compensated", "finetuned"])
        'finetuned'
    """
    return next((name for name in FINAL if name in stages), list(stages)[-1])


@dataclass(frozen=True, slots=True)
class Baseline:
    """A mask that a method is compared with.

    Attributes:
        name: of its scorer.
        scorer: a component of the role ``scorer``.
        solver: a component of the role ``solver``.
        seed: both are given.
    """

    name: str
    scorer: Any
    solver: Any
    seed: int


@dataclass(frozen=True, slots=True)
class BaselineResult:
    """A baseline as it was measured.

    Attributes:
        baseline: which one.
        keep: (n,) its mask.
        footprint: of its network.
        quality: on the test images, by stage: solved, and compensated where weights were re-fitted.
    """

    baseline: Baseline
    keep: Bools
    footprint: Footprint
    quality: Mapping[str, Quality]


@dataclass(frozen=True, slots=True)
class Retrained:
    """A network that was trained on other images than its filters were chosen on.

    Attributes:
        seed: of its initialisation.
        name: whose mask it has.
        value: mean over the test images of the task's primary measure.
        filters: prunable filters that it has (variables of the layout).
        params: its parameters.
        seconds: time its training took.
    """

    seed: int
    name: str
    value: float
    filters: int
    params: int
    seconds: float
