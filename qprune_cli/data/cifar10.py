"""CIFAR-10, read from its original files."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from qprune_cli.images.batches import find_folder, read_part
from qprune_cli.images.labelled import Labelled
from qprune_cli.images.sharing import Sharing, check_fixed
from qprune_cli.places import absolute_path
from qprune_cli.types import ImageSet, Splits


@dataclass(frozen=True)
class CIFAR10:
    """Colour photographs of 32 x 32 pixels in 10 classes.

    The five training batches (50,000 images) are cut into training, calibration and refinement, the test batch (10,000) is
    tested on. How many there are is what the files say.

    Args:
        root: folder of ``data_batch_1`` to ``data_batch_5`` and ``test_batch``, with or without .bin; they may lie in
            ``root/cifar-10-batches-py`` or ``root/cifar-10-batches-bin`` as well. Of a pickle only numbers are read; one that
            names anything else is refused.
        channels: 3, they are in colour.
        side: height and width; other than 32, images are resized bilinearly.
        classes: 10.
        seed: draws which images are trained, refined and calibrated on.
        calibration: number of calibration images, balanced over the classes; the run's seed draws them from twice as many that
            training never sees.
        refinement: number of images that masks are tuned on and trainings validated on.
        train_images: number of images to train on; 0 for all that are left.
        test_images: number of images to test on; 0 for all.
        augment: whether training mirrors images and moves them by up to 4 pixels at random.
        loss: what training minimises and scores predict: ``cross_entropy``.

    Raises:
        UserError: a setting is out of range.

    References:
        Krizhevsky, "Learning multiple layers of features from tiny images", 2009.

    Example:
        >>> CIFAR10(root=".", channels=1)
        Traceback (most recent call last):
        ...
        qprune_cli.errors.UserError: data.channels=1: these images have 3; leave it at 3
    """

    task: ClassVar[str] = "classify"
    root: str
    channels: int = 3
    side: int = 32
    classes: int = 10
    seed: int = 0
    calibration: int = 512
    refinement: int = 1000
    train_images: int = 0
    test_images: int = 0
    augment: bool = True
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        check_fixed(self, channels=3, classes=10)
        Sharing.of(self)
        object.__setattr__(self, "root", absolute_path(self.root))

    def load(self, seed: int) -> Splits:
        """Read the files and share their images out among the four parts.

        Args:
            seed: draws the calibration images.

        Raises:
            UserError: a batch is missing, damaged or of another kind, or more images are asked for than there are.
        """
        return Sharing.of(self).split(self._read("train"), self._read("test"), seed, self.augment)

    def test(self) -> ImageSet:
        """Read the test images alone: all of them, or ``test_images``.

        Raises:
            UserError: as ``load``.
        """
        return Sharing.of(self).test_set(self._read("test"))

    def _read(self, part: str) -> Labelled:
        return read_part(find_folder(Path(self.root)), part)
