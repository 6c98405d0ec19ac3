"""What networks are for: the one place that knows how restoring images and naming classes differ."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from torch import nn

from qprune_cli.errors import UserError, nearest
from qprune_cli.evaluate.classification import Classification
from qprune_cli.evaluate.restoration import Restoration
from qprune_cli.types import Floats, ImageSet, Measure, Quality


class Task(Protocol):
    """All that differs between what networks are for: what they are judged by, what images must be, and what is said of them."""

    @property
    def name(self) -> str:
        """As ``Splits.task`` and data sets and networks have it."""

    @property
    def does(self) -> str:
        """What its networks do, behind "model=NAME"."""

    @property
    def has(self) -> str:
        """What its images have, behind "data=NAME"."""

    @property
    def loss(self) -> str:
        """The differentiable loss whose fall is a rise of the merit."""

    @property
    def output(self) -> str:
        """What networks give, for files that name it."""

    @property
    def ignorant(self) -> str:
        """What the baseline is called that needs no network."""

    @property
    def more(self) -> str:
        """The setting that gives more refinement images."""

    @property
    def restores(self) -> bool:
        """Whether networks give images."""

    @property
    def any_size(self) -> bool:
        """Whether networks take images of any size."""

    @property
    def measures(self) -> Mapping[str, Measure]:
        """What may be measured, by name."""

    @property
    def primary(self) -> Measure:
        """What networks are compared by, and trained ones are chosen by."""

    @property
    def merit(self) -> Measure:
        """What compensation and refiners raise; image by image, and smooth enough for small changes to show."""

    def primaries(self, results: Floats, targets: Any) -> Floats:
        """(N,) values of the primary measure of (N, ...) results."""

    def merits(self, results: Floats, targets: Any) -> Floats:
        """(N,) values of the merit of (N, ...) results."""

    def merits_of(self, quality: Quality) -> Floats:
        """(N,) the same of what was measured already."""

    def quality(self, model: nn.Module, images: ImageSet, volume: bool = False) -> Quality:
        """Measure a network on images; ``volume`` asks for the 3-D SSIM where there is one."""

    def baseline(self, known: ImageSet, images: ImageSet, volume: bool = False) -> Quality:
        """Quality of what needs no network, on ``images``; what it has to know it takes from ``known``."""

    def examples(self, quality: Quality) -> dict[str, int]:
        """Positions of images that are worth a picture, by name."""

    def shape(self, images: ImageSet) -> tuple[int, int, int]:
        """(C, H, W) that multiply-accumulates, activations and latency are for."""

    def fits(self, result: Any, images: Any) -> bool:
        """Whether a network's result for (N, C, H, W) images has the shape that it should have."""

    def refuse_loss(self, setting: str, loss: str, known: Collection[str]) -> None:
        """Refuse one of the ``known`` losses, the value of a setting, that needs other images.

        Raises:
            UserError: it says which loss to choose.
        """

    def refuse_unjudgeable(self, images: ImageSet, channels: int) -> None:
        """Refuse images that cannot be measured, or that a network of so many channels cannot take.

        Raises:
            UserError: it names the first one.
        """

    def refuse_unfit(self, model: nn.Module, parts: Sequence[ImageSet]) -> None:
        """Refuse a network that does not turn images into what it should, after a look at the first one.

        Raises:
            UserError: it says what the network gives.
        """

    def doubts(self, baseline: Quality, dense: Quality) -> list[str]:
        """What makes a dense network look like no use, one sentence each."""


_TASKS: dict[str, Task] = {task.name: task for task in (Restoration(), Classification())}


def task_of(part: object) -> Task:
    """What splits, a data set or a network are for: their ``task``; without one they are for denoising.

    Raises:
        UserError: no such task.

    Example:
        >>> task_of(object()).primary.name
        'psnr'
    """
    name = str(getattr(part, "task", Restoration.name))
    if name not in _TASKS:
        raise UserError(f"task={name}: no such task; {nearest(name, _TASKS)}")
    return _TASKS[name]
