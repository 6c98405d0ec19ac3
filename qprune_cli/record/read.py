"""The only reader of result folders: a function for each kind of file, and one error that says which file is wrong, and how."""

import csv
import hashlib
import io
import json
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import yaml
from numpy.typing import NDArray

from qprune_cli.types import Floats

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same values as yaml.safe_load, several times as fast
DAMAGES = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, EOFError, BadZipFile, zlib.error)
UNLISTED: Mapping[str, str] = {}  # digests of a folder whose manifest is not looked at


class Unreadable(Exception):
    """A file of a result folder is missing, damaged or altered; its cause is the error of the system or of a parser, where there is one.

    Args:
        name: of the file, below its folder.
        why: the rest of the sentence that begins with the name, such as ``is damaged``.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name, self.why = name, why

    def __str__(self) -> str:
        return f"{self.name} {self.why}"


def read_content(folder: Path, name: str, digests: Mapping[str, str] = UNLISTED) -> bytes:
    """Bytes of a file, as the manifest knows them.

    Args:
        folder: of the run.
        name: of the file.
        digests: SHA-256 of the files, as far as the manifest lists them; a file that it does not list is taken as it is.

    Raises:
        Unreadable: it is missing or altered.
    """
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise Unreadable(name, "is missing or not readable") from error
    if name in digests and hashlib.sha256(content).hexdigest() != digests[name]:
        raise Unreadable(name, "is damaged, or altered since the run wrote it (its SHA-256 is another)")
    return content


def read_json(folder: Path, name: str, digests: Mapping[str, str] = UNLISTED) -> dict[str, Any]:
    """Entries of a JSON file; arguments as of ``read_content``.

    Raises:
        Unreadable: it is missing, damaged or altered, or holds no entries.
    """
    return _entries(name, read_content(folder, name, digests), json.loads)


def read_settings(folder: Path) -> dict[str, Any]:
    """Settings of a run, training or evaluation: the entries of its config.yaml.

    Raises:
        Unreadable: it is missing or damaged, or holds no entries.
    """
    return _entries("config.yaml", read_content(folder, "config.yaml"), partial(yaml.load, Loader=LOADER))


def _entries(name: str, content: bytes, parse: Callable[[bytes], Any]) -> dict[str, Any]:
    try:
        entries = parse(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unreadable(name, "is damaged") from error
    if not isinstance(entries, dict):
        raise Unreadable(name, "is damaged: it holds no entries")
    return entries


def read_arrays(folder: Path, name: str) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz file by their names; never a pickle.

    Raises:
        Unreadable: it is missing or damaged.
    """
    try:
        with np.load(folder / name) as file:
            return {key: file[key] for key in file.files}
    except FileNotFoundError as error:
        raise Unreadable(name, "is missing or not readable") from error
    except DAMAGES as error:
        raise Unreadable(name, "is damaged") from error


def read_rows(folder: Path, name: str) -> list[dict[str, str]]:
    """Rows of a CSV file by the names of its columns; a row that is cut has None for a name or a value.

    Raises:
        Unreadable: it is missing or damaged.
    """
    content = read_content(folder, name)
    try:
        return list(csv.DictReader(content.decode().splitlines()))
    except (ValueError, csv.Error) as error:
        raise Unreadable(name, "is damaged") from error


def read_images(folder: Path, digests: Mapping[str, str] = UNLISTED) -> tuple[tuple[str, ...], dict[str, dict[str, Floats]]]:
    """Qualities of the test images, from images.csv.

    Args:
        folder: of the run.
        digests: as of ``read_content``.

    Returns:
        Names of the N images, and their (N,) values by stage and measure.

    Raises:
        Unreadable: it is missing, damaged or altered, or does not hold every image at every stage.
    """
    import pandas as pd  # here, so that whoever reads no images starts without it

    content = read_content(folder, "images.csv", digests)
    kinds = defaultdict(lambda: "float64", image="object", stage="object")
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=kinds, keep_default_na=False)
        codes, stages = pd.factorize(table["stage"])
        measures = [name for name in table.columns if name not in ("image", "stage")]
        values, names = table[measures].to_numpy("float64"), table["image"].to_numpy()
    except (KeyError, ValueError) as error:
        raise Unreadable("images.csv", "is damaged") from error
    rows = [codes == k for k in range(len(stages))]
    images = tuple(map(sys.intern, names[rows[0]])) if rows else ()
    if "identity" not in stages or not measures or any(tuple(names[at]) != images for at in rows) or (values != values).any():
        raise Unreadable("images.csv", "is damaged: it does not hold every image at every stage")
    return images, {stage: dict(zip(measures, values[at].T, strict=True)) for stage, at in zip(stages, rows, strict=True)}
