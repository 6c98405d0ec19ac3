"""CIFAR-10's files: batches of images as Python pickles, or as plain bytes."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qprune_cli.errors import UserError
from qprune_cli.images.image import read_bytes
from qprune_cli.images.labelled import Labelled

FILES = {"train": [f"data_batch_{k}" for k in range(1, 6)], "test": ["test_batch"]}
FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
IMAGE = (3, 32, 32)
PIXELS = 3 * 32 * 32
CLASSES = 10
Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]


class Array:
    """Stands in for a NumPy array while a pickle is read: it keeps what it is given, and nothing runs."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        """Keep the tuple (version, shape, type, whether in Fortran's order, bytes)."""
        self.state = state

    def values(self) -> NDArray[np.uint8]:
        """Return the bytes as an array of the shape and order that were stored with them.

        Raises:
            ValueError: it holds something else than bytes, or its size is not its shape.
        """
        _, shape, kind, fortran, content = self.state
        if not isinstance(kind, Kind) or kind.name not in ("u1", b"u1") or not isinstance(content, bytes):
            raise ValueError("an array that does not hold uint8")
        return np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")


class Kind:
    """Stands in for the type of a NumPy array."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Ignore the byte order of the type: single bytes have none."""


class BatchReader(pickle.Unpickler):
    """Reads plain values and arrays of bytes; whatever else a pickle names is refused before it could run."""

    STAND_INS = {  # noqa: RUF012  (pickle's own attributes are no fields)
        ("numpy.core.multiarray", "_reconstruct"): Array,
        ("numpy._core.multiarray", "_reconstruct"): Array,
        ("numpy", "ndarray"): Array,
        ("numpy", "dtype"): Kind,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands in for a name of a pickle.

        Raises:
            pickle.UnpicklingError: a name without stand-in.
        """
        if (module, name) not in self.STAND_INS:
            raise pickle.UnpicklingError(f"{module}.{name}, which could run code")
        return self.STAND_INS[module, name]


def find_folder(root: Path) -> Path:
    """The folder of the batches: ``root``, or one of the names that the archives give it.

    Raises:
        UserError: no such folder, or no batch in any of them.
    """
    if not root.is_dir():
        raise UserError(f"data: no folder '{root}'; give data.root the folder of CIFAR-10")
    folders = [root, *(root / name for name in FOLDERS)]
    for folder in folders:
        if any(_existing(folder / name) for names in FILES.values() for name in names):
            return folder
    looked = ", ".join(f"'{folder}'" for folder in folders)
    raise UserError(f"data.root={root}: no {_file_names()} in {looked}; unpack cifar-10-python.tar.gz or cifar-10-binary.tar.gz there")


def read_part(folder: Path, part: str) -> Labelled:
    """Read all batches of a part.

    Args:
        folder: where they are.
        part: ``train`` or ``test``.

    Raises:
        UserError: a batch is missing, damaged, or holds something else.
    """
    images, labels = zip(*(read_batch(_required(folder / name)) for name in FILES[part]), strict=True)
    return Labelled(np.concatenate(images), np.concatenate(labels), part)


def read_batch(path: Path) -> Batch:
    """Read one batch: a pickle, or plain bytes where its name ends in .bin.

    Returns:
        (N, 3, 32, 32) uint8 and (N,) labels.

    Raises:
        UserError: it cannot be read, is damaged, or holds something else.
    """
    images, labels = (_bytes if path.suffix == ".bin" else _pickled)(path, read_bytes(path))
    if len(images) != len(labels):
        raise UserError(f"{path}: {len(labels)} labels for {len(images)} images; download it again")
    if labels.size and not 0 <= labels.min() <= labels.max() < CLASSES:
        raise UserError(f"{path}: holds labels from {labels.min()} to {labels.max()}; expected 0 to {CLASSES - 1}, take the original file")
    return images, labels


def _bytes(path: Path, content: bytes) -> Batch:
    size = 1 + PIXELS
    if len(content) % size or not content:
        count = len(content) / size
        raise UserError(
            f"{path}: holds {len(content)} bytes, {count:.2f} images of {size} where it should hold whole ones; download it again"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    return records[:, 1:].reshape(-1, *IMAGE), records[:, 0].astype(np.int64)


def _pickled(path: Path, content: bytes) -> Batch:
    try:
        entries = BatchReader(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle may raise anything
        reason = f"{type(error).__name__}: {error}; {len(content)} bytes, the original has 31 million"
        raise UserError(f"{path}: not a whole batch of CIFAR-10 ({reason}); download it again") from error
    try:
        data, labels = (entries[name] if name in entries else entries[name.decode()] for name in (b"data", b"labels"))
        images = data.values()
        if images.ndim != 2 or images.shape[1] != PIXELS:
            raise ValueError(f"data of shape {images.shape}")
        return images.reshape(-1, *IMAGE), np.array(labels, np.int64)
    except Exception as error:  # what a pickle holds may be anything
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path}: holds no (N, {PIXELS}) uint8 'data' with 'labels' ({reason}); take the original file") from error


def _required(path: Path) -> Path:
    file = _existing(path)
    if file is None:
        raise UserError(f"{path}: no such file, nor one with .bin; {_file_names()} belong beside each other")
    return file


def _existing(path: Path) -> Path | None:
    """The file, or the one with .bin behind its name; None where neither exists."""
    return next((file for file in (path, path.with_name(f"{path.name}.bin")) if file.is_file()), None)


def _file_names() -> str:
    return f"{FILES['train'][0]} to {FILES['train'][-1]} and {FILES['test'][0]}"
