"""Patches of image files, cut once and mapped into memory, so that big files are decoded once and never held whole."""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from qprune_cli.atomic import whole_file
from qprune_cli.errors import UserError
from qprune_cli.images.crops import blocks, random_place, turned
from qprune_cli.images.image import to_floats
from qprune_cli.places import cache_home
from qprune_cli.types import ImageSet, Pair

FORMAT = "2"  # part of every key: another way of cutting never finds the patches of this one
READERS = min(4, os.cpu_count() or 1)  # a decoded pair of 16 megapixels takes 100 MB


class Source(Protocol):
    """A pair of image files that patches can be cut from (``PairFiles`` is one)."""

    @property
    def name(self) -> str:
        """Name of the pair, which its crops carry as well."""

    @property
    def noisy(self) -> Path:
        """Path of the file with the noisy image."""

    @property
    def clean(self) -> Path:
        """Path of the file with the clean image."""

    def contents(self) -> tuple[bytes, bytes]:
        """Read all bytes of the noisy and of the clean file."""

    def decode(self, contents: tuple[bytes, bytes], channels: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Decode the noisy and the clean image, each (C, H, W) in the type that the file stores."""


@dataclass(frozen=True)
class Entry:
    """The patches of one pair of files: ``path`` holds a (2, P, C, h, w) array, noisy then clean."""

    name: str
    path: Path

    def patches(self) -> NDArray[Any]:
        """The (2, P, C, h, w) array, mapped into memory: only the patches that are looked at are read."""
        return _mapped(self.path)


@lru_cache(maxsize=256)  # every mapped file holds a descriptor, of which a process may have some thousand
def _mapped(path: Path) -> NDArray[Any]:
    patches: NDArray[Any] = np.load(path, mmap_mode="r")
    return patches


def _whole(path: Path) -> bool:
    """Whether a file of patches is there and was not cut short by a power failure."""
    try:
        return _mapped(path).ndim == 5
    except (OSError, ValueError, EOFError):
        return False


@dataclass(frozen=True)
class PatchCache:
    """A folder of patches, found again by the content of the files that they were cut from.

    ``patches/KEY.npy`` are the patches, with a key from both files' bytes and the settings. ``known/KEY`` says which patches
    belong to two paths of a certain size and time of change, so that unchanged files are not even read.

    Args:
        folder: where to.
        size: side of a patch in pixels; a smaller image is one patch as large as the image.
        most: at most so many patches of each image, spread evenly; they overlap where they do not fill the image.
    """

    folder: Path
    size: int
    most: int

    @staticmethod
    def at(folder: str | None, size: int, most: int) -> "PatchCache":
        """The cache in a folder; None for QPRUNE_CACHE, or else the user's cache folder."""
        return PatchCache(Path(folder).expanduser() if folder else cache_home(), size, most)

    def entries(self, files: Sequence[Source], channels: int) -> tuple[Entry, ...]:
        """Find the patches of all files; cut those that are not there, several at a time.

        Raises:
            UserError: a damaged image; no space left, or a folder that cannot be written.
        """
        paths = [self._noted(source, channels) for source in files]
        missing = [k for k, path in enumerate(paths) if path is None]
        with ThreadPoolExecutor(READERS) as pool:
            cut = pool.map(lambda k: self._cut(files[k], channels), missing)
            try:
                for k, path in tqdm(zip(missing, cut, strict=True), "cut patches", len(missing), unit="pair", leave=False, disable=None):
                    paths[k] = path
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return tuple(Entry(source.name, path) for source, path in zip(files, paths, strict=True) if path is not None)

    def _noted(self, source: Source, channels: int) -> Path | None:
        """Patches that an earlier call noted for these very files; None where there are none."""
        note = self._note(source, channels)
        try:
            path = self._patches(note.read_text())
        except OSError:
            return None
        return path if _whole(path) else None

    def _cut(self, source: Source, channels: int) -> Path:
        contents = source.contents()
        digest = hashlib.sha256(f"{FORMAT} {channels} {self.size} {self.most} {len(contents[0])} ".encode())
        for content in contents:
            digest.update(content)
        path, note = self._patches(digest.hexdigest()), self._note(source, channels)
        if not _whole(path):
            noisy, clean = source.decode(contents, channels)
            if noisy.dtype != clean.dtype:  # 8 bits and 16 bits have no common scale
                noisy, clean = to_floats(noisy), to_floats(clean)
            places = list(blocks(noisy.shape, self.size, self.most, cover=True))
            patches = np.stack([np.stack([picture[:, y, x] for y, x in places]) for picture in (noisy, clean)])
            self._write(path, lambda temporary: _save(temporary, patches))
        self._write(note, lambda temporary: temporary.write_text(digest.hexdigest()))
        return path

    def _write(self, path: Path, write: Callable[[Path], object]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as temporary:
                write(temporary)
        except OSError as error:
            free = shutil.disk_usage(next(place for place in path.parents if place.exists())).free / 2**30
            raise UserError(
                f"data.cache: cannot write patches to '{self.folder}' ({error.strerror or error}, {free:.1f} GiB free); "
                "give data.cache=FOLDER another one, or fewer data.patches_per_image"
            ) from error

    def _patches(self, digest: str) -> Path:
        return self.folder / "patches" / f"{digest}.npy"

    def _note(self, source: Source, channels: int) -> Path:
        states = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in (source.noisy, source.clean)]
        return self.folder / "known" / hashlib.sha256(f"{FORMAT} {channels} {self.size} {self.most} {states}".encode()).hexdigest()


def _save(path: Path, patches: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, patches)


@dataclass(frozen=True)
class Patches:
    """Random crops out of patches.

    Args:
        entries: the patches; each pair of files is drawn equally often.
    """

    entries: tuple[Entry, ...]

    def check(self, size: int) -> None:
        """Refuse an empty set of patches, and crops of ``size`` x ``size`` that are larger than a patch.

        Raises:
            UserError: it says which of both.
        """
        if not self.entries:
            raise UserError("data: no image is left for training; give more pairs or other data.shares")
        for entry in self.entries:
            height, width = entry.patches().shape[-2:]
            if min(height, width) < size:
                raise UserError(
                    f"{entry.name}: its patches have {width} x {height} pixels, smaller than a crop of {size}; "
                    "ask for smaller crops, larger images or a larger data.patch"
                )

    def draw(self, rng: np.random.Generator, count: int, size: int) -> ImageSet:
        """Cut ``count`` crops of ``size`` x ``size``, turned at random; pairs take turns, so that all are seen."""
        rounds = -(-count // len(self.entries))
        order = np.concatenate([rng.permutation(len(self.entries)) for _ in range(rounds)])[:count]
        return ImageSet(tuple(self._crop(rng, self.entries[k], number, size) for number, k in enumerate(np.sort(order))))

    def _crop(self, rng: np.random.Generator, entry: Entry, number: int, size: int) -> Pair:
        patches = entry.patches()
        patch = patches[:, rng.integers(patches.shape[1])]
        y, x = random_place(patch.shape, size, rng)
        noisy, clean = turned(to_floats(patch[..., y, x]), int(rng.integers(4)), bool(rng.uniform() < 0.5))
        return Pair(f"{entry.name}_crop{number}", np.ascontiguousarray(noisy), np.ascontiguousarray(clean))
