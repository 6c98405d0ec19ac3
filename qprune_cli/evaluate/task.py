"""What networks are for: restoring images or naming classes, and all that differs between the two."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from torch import nn

from qprune_cli.errors import UserError, nearest
from qprune_cli.evaluate.classification import Classification
from qprune_cli.evaluate.restoration import Restoration
from qprune_cli.types import Floats, ImageSet, Measure, Quality


class Task(Protocol):
    """What networks are for: what they are judged by, what their images must be, and the words that sentences about them need."""

    @property
    def name(self) -> str:
        """The name, one of ``TASKS``, that splits, data sets and networks have as their ``task``."""

    @property
    def model_does(self) -> str:
        """What its networks do, as a sentence says it behind "model=NAME"."""

    @property
    def data_has(self) -> str:
        """What its images have, as a sentence says it behind "data=NAME has"."""

    @property
    def loss(self) -> str:
        """The differentiable loss whose fall is a rise of the merit."""

    @property
    def output(self) -> str:
        """What networks give, as exported files name it."""

    @property
    def baseline_name(self) -> str:
        """What tables call the baseline that needs no network."""

    @property
    def more_images(self) -> str:
        """The setting that gives more refinement images, as a warning names it."""

    @property
    def restores(self) -> bool:
        """Whether networks give images that can be shown."""

    @property
    def any_size(self) -> bool:
        """Whether networks take images of any size."""

    @property
    def measures(self) -> Mapping[str, Measure]:
        """The measures that there may be in a quality, by name."""

    @property
    def primary(self) -> Measure:
        """The measure that networks are compared by, and that trained ones are chosen by."""

    @property
    def merit(self) -> Measure:
        """The measure that compensation and refiners raise; image by image, and smooth enough for small changes to show."""

    def primaries(self, results: Floats, targets: Any) -> Floats:
        """(N,) values of the primary measure of (N, ...) results, compared with (N, ...) targets."""

    def merits(self, results: Floats, targets: Any) -> Floats:
        """(N,) values of the merit of (N, ...) results, compared with (N, ...) targets."""

    def merits_of(self, quality: Quality) -> Floats:
        """(N,) values of the merit, from a quality that was measured before."""

    def quality(self, model: nn.Module, images: ImageSet, volume: bool = False) -> Quality:
        """Measure a network on images, with the 3-D SSIM for ``volume`` where there is one."""

    def baseline(self, reference: ImageSet, images: ImageSet, volume: bool = False) -> Quality:
        """Quality on ``images`` of what needs no network; class frequencies come from the ``reference`` images."""

    def examples(self, quality: Quality) -> dict[str, int]:
        """Positions of images that are worth a picture, under a name for each."""

    def shape(self, images: ImageSet) -> tuple[int, int, int]:
        """(C, H, W) of the image that multiply-accumulates, activations and latency are stated for."""

    def fits(self, result: Any, images: Any) -> bool:
        """Whether a network's result for (N, C, H, W) images has the shape that it should have."""

    def refuse_loss(self, setting: str, loss: str, names: Collection[str]) -> None:
        """Refuse a loss, the value of a setting that may be one of ``names``, that needs other images.

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
        """Sentences for the user where a dense network is no better than the baseline; none where it is."""


_TASKS: dict[str, Task] = {task.name: task for task in (Restoration(), Classification())}


def task_of(part: object) -> Task:
    """The task of splits, of a data set or of a network, by their attribute ``task``; without one they are for denoising.

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
