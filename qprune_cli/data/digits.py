"""The embedded default for classifiers: the handwritten digits that ship with scikit-learn."""

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits

from qprune_cli.images.labelled import Labelled
from qprune_cli.images.sharing import Sharing, check_fixed, parted
from qprune_cli.types import ImageSet, Splits

TESTED = 360  # images that are held out, the same ones always


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

    @property
    def task(self) -> str:
        """What its networks do."""
        return "classify"

    def load(self, seed: int) -> Splits:
        """Read the images and split them.

        Args:
            seed: draws the calibration images.

        Raises:
            UserError: more images are asked for than there are.
        """
        return Sharing.of(self).split(*_held_out(), seed)

    def test(self) -> ImageSet:
        """Read the test images alone.

        Raises:
            UserError: more images are asked for than there are.
        """
        return Sharing.of(self).tested(_held_out()[1])


def _held_out() -> tuple[Labelled, Labelled]:
    """The images to learn from and those to test on."""
    digits = load_digits()
    everything = Labelled((digits.images[:, None] / 16).astype(np.float32), digits.target.astype(np.int64), "digits")
    tested, learnt = parted(everything, np.arange(len(everything)), TESTED, np.random.default_rng(0))
    first, second = (
        Labelled(everything.images[part], everything.labels[part], name) for part, name in ((learnt, "train"), (tested, "test"))
    )
    return first, second
