"""Files of a run -> what they hold, if they are as the run wrote them."""

import hashlib
import io
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from qprune_cli.types import Floats


class Unreadable(Exception):
    """A run that cannot be compared; the text says why."""


def _bytes(folder: Path, name: str, digests: Mapping[str, str]) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise Unreadable(f"{name} is missing or not readable") from error
    if name in digests and hashlib.sha256(content).hexdigest() != digests[name]:
        raise Unreadable(f"{name} is damaged, or altered since the run wrote it (its SHA-256 is another)")
    return content


def read_json(folder: Path, name: str, digests: Mapping[str, str]) -> dict[str, Any]:
    """Entries of a JSON file.

    Args:
        folder: of the run.
        name: of the file.
        digests: SHA-256 of the files, as far as the manifest lists them.

    Raises:
        Unreadable: it is missing, damaged or altered.
    """
    content = _bytes(folder, name, digests)
    try:
        found = json.loads(content)
    except ValueError as error:
        raise Unreadable(f"{name} is damaged") from error
    if not isinstance(found, dict):
        raise Unreadable(f"{name} is damaged: it holds no entries")
    return found


def read_images(folder: Path, digests: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, dict[str, Floats]]]:
    """Names of the images, and their (N,) values by stage and measure.

    Raises:
        Unreadable: images.csv is missing, damaged or altered.
    """
    content = _bytes(folder, "images.csv", digests)
    kinds = defaultdict(lambda: "float64", image="object", stage="object")
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=kinds, keep_default_na=False)
        codes, stages = pd.factorize(table["stage"])
        measures = [name for name in table.columns if name not in ("image", "stage")]
        values, names = table[measures].to_numpy("float64"), table["image"].to_numpy()
    except (KeyError, ValueError) as error:
        raise Unreadable("images.csv is damaged") from error
    rows = [codes == k for k in range(len(stages))]
    images = tuple(map(sys.intern, names[rows[0]])) if rows else ()
    if "identity" not in stages or not measures or any(tuple(names[own]) != images for own in rows) or (values != values).any():
        raise Unreadable("images.csv is damaged: it does not hold every image at every stage")
    return images, {stage: dict(zip(measures, values[own].T, strict=True)) for stage, own in zip(stages, rows, strict=True)}
