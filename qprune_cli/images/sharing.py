"""How labelled images are shared among training, calibration, refinement and test."""

from dataclasses import dataclass, fields

import numpy as np

from qprune_cli.errors import UserError, nearest
from qprune_cli.images.labelled import Labelled, LabelledDraws, LabelledPairs
from qprune_cli.types import ImageSet, Ints, Splits

LOSSES = ("cross_entropy",)
SIDES = (8, 64)  # least and most pixels
POOL = 2  # so many times the calibration images are kept from training, for every run to draw its own from


@dataclass(frozen=True)
class Sharing:
    """Settings that every data set of labelled images has; see ``MNIST`` for their meaning.

    Raises:
        UserError: a value is out of range.
    """

    side: int
    seed: int
    calibration: int
    refinement: int
    train_images: int
    test_images: int
    loss: str

    @staticmethod
    def of(data: object) -> "Sharing":
        """Take the settings from the attributes of a data set, and check them."""
        return Sharing(**{field.name: getattr(data, field.name) for field in fields(Sharing)})

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("calibration", 1), ("refinement", 1), ("train_images", 0), ("test_images", 0)):
            if getattr(self, name) < least:
                raise UserError(f"data.{name}={getattr(self, name)}: give a whole number, at least {least}")
        if not SIDES[0] <= self.side <= SIDES[1]:
            raise UserError(f"data.side={self.side}: give {SIDES[0]} to {SIDES[1]} pixels")
        if self.loss not in LOSSES:
            raise UserError(f"data.loss={self.loss}: images with labels are learnt by it; {nearest(self.loss, LOSSES)}")

    def split(self, train: Labelled, test: Labelled, seed: int, augment: bool = False) -> Splits:
        """Share out the images of a training file and a test file.

        Args:
            train: cut into training, calibration and refinement by ``data.seed``.
            test: tested on.
            seed: draws the calibration images, from twice as many that training never sees.
            augment: see ``LabelledDraws``.

        Raises:
            UserError: there are fewer images than asked for.
        """
        wanted = {"calibration": POOL * self.calibration, "refinement": self.refinement, "train_images": max(self.train_images, 1)}
        if sum(wanted.values()) > len(train):
            of_them = (
                f"{wanted['calibration']} to draw calibration from, {self.refinement} for refinement, {wanted['train_images']} to train on"
            )
            raise UserError(
                f"data.calibration={self.calibration}, data.refinement={self.refinement}, data.train_images={self.train_images}: "
                f"{of_them} are more than the {len(train)} images there are; ask for fewer"
            )
        train, rng = train.sized(self.side), np.random.default_rng([0, self.seed])
        pool, rest = take_balanced(train, np.arange(len(train)), wanted["calibration"], rng)
        refinement, rest = take_balanced(train, rest, self.refinement, rng)
        learnt, _ = take_balanced(train, rest, self.train_images or len(rest), rng)
        calibration, _ = take_balanced(train, pool, self.calibration, np.random.default_rng([1, seed]))
        return Splits(
            train=LabelledDraws(train, learnt, augment),
            calibration=ImageSet(train.pairs(calibration)),
            refinement=ImageSet(train.pairs(refinement)),
            test=self.test_set(test),
            task="classify",
        )

    def test_set(self, test: Labelled) -> ImageSet:
        """Choose the test images: all of them, or as many as ``test_images``, balanced over the classes.

        Raises:
            UserError: there are fewer than ``test_images``.
        """
        if self.test_images > len(test):
            raise UserError(f"data.test_images={self.test_images}: there are {len(test)} test images; ask for fewer, or 0 for all")
        index, _ = take_balanced(test, np.arange(len(test)), self.test_images or len(test), np.random.default_rng([2, self.seed]))
        return ImageSet(LabelledPairs(test.sized(self.side), index))


def check_fixed(data: object, channels: int, classes: int) -> None:
    """Refuse other numbers of channels and classes than the images have.

    Raises:
        UserError: the data set has another number; the sentence names it.
    """
    for name, value in (("channels", channels), ("classes", classes)):
        if getattr(data, name) != value:
            raise UserError(f"data.{name}={getattr(data, name)}: these images have {value}; leave it at {value}")


def take_balanced(source: Labelled, among: Ints, count: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Take ``count`` images, classes in turn, so that each has as many as another as far as it goes.

    Args:
        source: the images.
        among: (n,) those to take from.
        count: how many, at most n.
        rng: draws them.

    Returns:
        (count,) images that were taken and (n - count,) that were not, each in ascending order.

    Example:
        >>> source = Labelled(np.zeros((6, 1, 8, 8), np.uint8), np.array([0, 0, 0, 0, 1, 1]), "train")
        >>> taken, rest = take_balanced(source, np.arange(6), 4, np.random.default_rng(0))
        >>> source.labels[taken].tolist(), source.labels[rest].tolist()
        ([0, 0, 1, 1], [0, 0])
    """
    shuffled = rng.permutation(among)
    labels = source.labels[shuffled]
    turn = np.empty(len(shuffled), int)  # how many of its class come before it
    for label in np.unique(labels):
        turn[labels == label] = np.arange(np.count_nonzero(labels == label))
    order = shuffled[np.argsort(turn, kind="stable")]
    return np.sort(order[:count]), np.sort(order[count:])
