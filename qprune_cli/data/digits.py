"""The embedded default for classifiers: the handwritten digits that ship with scikit-learn."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.datasets import load_digits

from qprune_cli.images.labelled import Labelled
from qprune_cli.images.sharing import Sharing, check_fixed, take_balanced
from qprune_cli.types import ImageSet, Splits

TEST_IMAGES = 360  # the same ones always


@dataclass(frozen=True)
class Digits:
    """1,797 real handwritten digits of 8 x 8 pixels with 17 grey levels; needs no download.

    A fifth, balanced over the classes, is tested on; these 360 images do not depend on any seed. The files do not say who
    wrote what, so a hand may be in several parts.

    Args:
        channels: 1, they are grey.
        side: height and width; other than 8, images are resized bilinearly.
        classes: 10.
        seed: draws which images are trained, refined and calibrated on.
        calibration: number of calibration images, balanced over the classes; the run's seed draws them from twice as many.
        refinement: number of images that masks are tuned on and trainings validated on.
        train_images: number of images to train on; 0 for all that are left.
        test_images: number of images to test on; 0 for all.
        loss: what training minimises and scores predict: ``cross_entropy``.

    References:
        Alpaydin, Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning Repository, 1998.

    Example:
        >>> splits = Digits().load(seed=0)
        >>> len(splits.calibration), len(splits.refinement), len(splits.test)
        (256, 256, 360)
    """

    task: ClassVar[str] = "classify"
    channels: int = 1
    side: int = 8
    classes: int = 10
    seed: int = 0
    calibration: int = 256
    refinement: int = 256
    train_images: int = 0
    test_images: int = 0
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        check_fixed(self, channels=1, classes=10)
        Sharing.of(self)

    def load(self, seed: int) -> Splits:
        """Share the images out among the four parts.

        Args:
            seed: draws the calibration images.

        Raises:
            UserError: more images are asked for than there are.
        """
        return Sharing.of(self).split(*_train_and_test(), seed)

    def test(self) -> ImageSet:
        """Read the test images alone: all 360, or ``test_images``.

        Raises:
            UserError: more images are asked for than there are.
        """
        return Sharing.of(self).test_set(_train_and_test()[1])


def _train_and_test() -> tuple[Labelled, Labelled]:
    """The 1,437 images to learn from and the 360 to test on."""
    digits = load_digits()
    images, labels = (digits.images[:, None] / 16).astype(np.float32), digits.target.astype(np.int64)
    rng = np.random.default_rng(0)
    test, train = take_balanced(Labelled(images, labels, "digits"), np.arange(len(labels)), TEST_IMAGES, rng)
    return Labelled(images[train], labels[train], "train"), Labelled(images[test], labels[test], "test")
