"""MNIST and Fashion-MNIST, read from their original files."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from qprune_cli.errors import UserError, nearest
from qprune_cli.images.idx import find_folder, read_part
from qprune_cli.images.labelled import Labelled
from qprune_cli.images.sharing import Sharing, check_fixed
from qprune_cli.places import absolute_path
from qprune_cli.types import ImageSet, Splits

FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}  # what torchvision names the folder of each


@dataclass(frozen=True)
class MNIST:
    """Grey images of 28 x 28 pixels in 10 classes: handwritten digits, or clothes.

    The training file (60,000 images) is cut into training, calibration and refinement, the test file (10,000) is tested on.
    How many there are is what the files say, so that a part of them will do.

    Args:
        root: folder of the four files, such as ``train-images-idx3-ubyte.gz``, with or without .gz; they may lie in ``root/mnist``
            or ``root/MNIST/raw`` as well (for clothes in ``root/fashion_mnist`` or ``root/FashionMNIST/raw``).
        name: ``mnist`` or ``fashion_mnist``.
        channels: 1, they are grey.
        side: height and width; other than that of the files, images are resized bilinearly.
        classes: 10.
        seed: draws which images are trained, refined and calibrated on.
        calibration: number of calibration images, balanced over the classes; the run's seed draws them from twice as many that
            training never sees.
        refinement: number of images that masks are tuned on and trainings validated on.
        train_images: number of images to train on; 0 for all that are left.
        test_images: number of images to test on; 0 for all.
        loss: what training minimises and scores predict: ``cross_entropy``.

    Raises:
        UserError: a setting is out of range.

    References:
        LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", Proceedings of the IEEE
        86(11), 1998. Xiao, Rasul, Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
        algorithms", 2017, arXiv:1708.07747.

    Example:
        >>> MNIST(root=".", side=4)
        Traceback (most recent call last):
        ...
        qprune_cli.errors.UserError: data.side=4: give 8 to 64 pixels
    """

    task: ClassVar[str] = "classify"
    root: str
    name: str = "mnist"
    channels: int = 1
    side: int = 28
    classes: int = 10
    seed: int = 0
    calibration: int = 512
    refinement: int = 1000
    train_images: int = 0
    test_images: int = 0
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        if self.name not in FOLDERS:
            raise UserError(f"data.name={self.name}: no such images; {nearest(self.name, FOLDERS)}")
        check_fixed(self, channels=1, classes=10)
        Sharing.of(self)
        object.__setattr__(self, "root", absolute_path(self.root))

    def load(self, seed: int) -> Splits:
        """Read the files and share their images out among the four parts.

        Args:
            seed: draws the calibration images.

        Raises:
            UserError: a file is missing, damaged or of another kind, or more images are asked for than there are.
        """
        return Sharing.of(self).split(self._read("train"), self._read("test"), seed)

    def test(self) -> ImageSet:
        """Read the test images alone: all of them, or ``test_images``.

        Raises:
            UserError: as ``load``.
        """
        return Sharing.of(self).test_set(self._read("test"))

    def _read(self, part: str) -> Labelled:
        folders = (self.name, f"{FOLDERS[self.name]}/raw", FOLDERS[self.name])
        return read_part(find_folder(Path(self.root), folders), part, self.classes)
