"""MNIST's file format: a header of sizes, then bytes; as it is, or compressed with gzip."""

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qprune_cli.errors import UserError
from qprune_cli.images.image import read_bytes
from qprune_cli.images.labelled import Labelled

KINDS = {"images-idx3-ubyte": 3, "labels-idx1-ubyte": 1}  # dimensions of each kind of file
FILES = {"train": "train", "test": "t10k"}  # how the names of the files of each part begin
UNSIGNED = 0x08  # the type of the values, in the third byte


def find_folder(root: Path, names: tuple[str, ...]) -> Path:
    """The folder of the four files: ``root``, or one of ``names`` below it.

    Raises:
        UserError: no such folder, or none of the files in any of them.
    """
    if not root.is_dir():
        raise UserError(f"data: no folder '{root}'; give data.root the folder of the four files")
    folders = [root, *(root / name for name in names)]
    for folder in folders:
        if any(_existing(folder / f"{part}-{kind}") for part in FILES.values() for kind in KINDS):
            return folder
    looked = ", ".join(f"'{folder}'" for folder in folders)
    raise UserError(f"data.root={root}: none of {_file_names()} is in {looked}; put them there")


def read_part(folder: Path, part: str, classes: int) -> Labelled:
    """Read the images of a part and their labels.

    Args:
        folder: where the files are.
        part: ``train`` or ``test``.
        classes: number of classes.

    Raises:
        UserError: a file is missing, damaged or of another kind, or images and labels do not belong together.
    """
    paths = [_required(folder / f"{FILES[part]}-{kind}") for kind in KINDS]
    images, labels = (read_idx(path, dims) for path, dims in zip(paths, KINDS.values(), strict=True))
    if len(images) != len(labels):
        raise UserError(f"{paths[1]}: {len(labels)} labels for the {len(images)} images of {paths[0].name}; take both from one source")
    if labels.size and labels.max() >= classes:
        raise UserError(f"{paths[1]}: holds the label {labels.max()}; expected 0 to {classes - 1}, take the original file")
    return Labelled(images[:, None], labels.astype(np.int64), part)


def read_idx(path: Path, dims: int) -> NDArray[np.uint8]:
    """Read a file of bytes in ``dims`` dimensions.

    Args:
        path: the file; one whose name ends in .gz is decompressed.
        dims: 3 for images, 1 for labels.

    Returns:
        (N, H, W) images or (N,) labels, uint8.

    Raises:
        UserError: it cannot be read, is damaged, or holds something else.
    """
    content, whole = _unzipped(path) if path.suffix == ".gz" else (read_bytes(path), True)
    start = 4 + 4 * dims
    magic = bytes((0, 0, UNSIGNED, dims))
    if content[:4] != magic[: len(content)]:
        raise UserError(f"{path}: begins with 0x{content[:4].hex()} where 0x{magic.hex()} is expected; take the original file")
    if len(content) < start:
        raise UserError(f"{path}: holds {len(content)} bytes, fewer than its header of {start}; it was cut short, download it again")
    shape = np.frombuffer(content, ">u4", dims, offset=4).tolist()
    if 0 in shape:
        raise UserError(f"{path}: its header says {' x '.join(map(str, shape))}, which is nothing; take the original file")
    one = int(np.prod(shape[1:], dtype=object))
    if len(content) - start != shape[0] * one:
        size = f"{len(content)} bytes, {(len(content) - start) / one:g} of the {shape[0]} images or labels"
        raise UserError(f"{path}: holds {size} that it should have in {start + shape[0] * one} bytes; download it again")
    if not whole:
        raise UserError(f"{path}: its checksum of 8 bytes is not whole; it was cut short, download it again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _unzipped(path: Path) -> tuple[bytes, bool]:
    """All bytes that can be had, and whether the file was not cut short."""
    stream = zlib.decompressobj(wbits=31)
    packed = read_bytes(path)
    try:
        return stream.decompress(packed), stream.eof
    except zlib.error as error:
        raise UserError(f"{path}: not a whole gzip file ({error}; {len(packed)} bytes); download it again") from error


def _required(path: Path) -> Path:
    file = _existing(path)
    if file is None:
        raise UserError(f"{path}.gz: no such file, nor one without .gz; {_file_names()} belong beside each other")
    return file


def _existing(path: Path) -> Path | None:
    """The file, or the one with .gz behind its name; None where neither exists."""
    return next((file for file in (path, path.with_name(f"{path.name}.gz")) if file.is_file()), None)


def _file_names() -> str:
    return ", ".join(f"{part}-{kind}.gz" for part in FILES.values() for kind in KINDS)
