"""Denoising a folder of photographs with the network of a finished run."""

import os
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import NoReturn

import torch
from torch import nn
from tqdm import tqdm

from qprune_cli.device import pick_device
from qprune_cli.errors import UserError, nearest
from qprune_cli.evaluate.task import task_of
from qprune_cli.record.folder import Folder
from qprune_cli.use.load import Run, load_run
from qprune_cli.use.photo import Photo, read_photo
from qprune_cli.use.tiles import Tiling, denoise, enough_overlap

NETWORKS = ("small", "dense")


@dataclass(frozen=True)
class Settings:
    """How a folder of photographs is denoised.

    Args:
        network: small (what the run has made) or dense (what it began with).
        tile: side of a tile in pixels, a multiple of 32; see ``Tiling``.
        overlap: pixels that neighbouring tiles share; None finds out how many the network needs.
        jobs: photographs in memory at once: while one is denoised, others are read or written. 1 does one after the other.
        device: auto, cpu or cuda.
        overwrite: make files anew that are in the output folder already, instead of passing over them.
    """

    network: str = "small"
    tile: int = Tiling.tile
    overlap: int | None = None
    jobs: int = 2
    device: str = "auto"
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise UserError(f"--network {self.network}: no such network; {nearest(self.network, NETWORKS)}")
        if self.jobs < 1:
            raise UserError(f"--jobs {self.jobs}: give a number of photographs, at least 1")
        Tiling(self.tile, self.overlap or 0)


@dataclass
class Applied:
    """What has become of the photographs of a folder.

    Attributes:
        there: how many were passed over because they were in the output folder already.
        pixels: of every photograph that was written, their number.
        refused: one sentence per file that was left out.
        seconds: from the first to the last photograph.
    """

    there: int = 0
    pixels: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def refuse(self, error: UserError) -> None:
        """Note a file that is left out, and say so."""
        tqdm.write(f"left out: {error}", file=sys.stderr)
        self.refused.append(str(error))

    def __str__(self) -> str:
        megapixels = sum(self.pixels) / 1e6
        parts = [f"{len(self.pixels)} denoised in {self.seconds:.1f} s ({megapixels / max(self.seconds, 1e-9):.2f} megapixels per second)"]
        parts += [f"{self.there} were there already; --overwrite makes them anew"] if self.there else []
        parts += [f"{len(self.refused)} left out, named above"] if self.refused else []
        return "; ".join(parts)


def apply(run: Path, source: Path, target: Path, settings: Settings | None = None) -> Applied:
    """Denoise all photographs below a folder.

    Every result has the name, place, format, depth and size of its source. Hidden files and folders are passed over. What cannot be
    read is named, and the rest is done.

    Args:
        run: folder of a finished ``qprune run``.
        source: folder of photographs; sub-folders are searched.
        target: folder for the results; made where it does not exist.
        settings: how; the defaults if None.

    Returns:
        What was done and what was not.

    Raises:
        UserError: a folder cannot be used, results would lie among the sources, or the run cannot be loaded.
    """
    settings = settings or Settings()
    device = pick_device(settings.device)
    todo = _files(source, target)
    loaded = load_run(run)
    if not (task := task_of(loaded.network)).restores:
        raise UserError(
            f"{run}: its network {task.model_does} and gives no images; measure it with `qprune evaluate`, or `qprune export` it"
        )
    model = _network(loaded, settings.network, device)
    tiling = Tiling(settings.tile, enough_overlap(model, loaded.channels, settings.tile) if settings.overlap is None else settings.overlap)
    fresh = [(path, result) for path, result in todo if settings.overwrite or not result.is_file()]
    applied = Applied(there=len(todo) - len(fresh))
    start = perf_counter()
    _denoise_all(model, loaded.channels, fresh, tiling, settings.jobs, applied)
    applied.seconds = perf_counter() - start
    return applied


def _network(run: Run, network: str, device: torch.device) -> nn.Module:
    model = run.model if network == "small" else run.dense()
    return model.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _files(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """All files below the source, each with the file that its result goes to.

    Raises:
        UserError: there are none, they cannot be listed, or the results cannot go there.
    """
    if not source.is_dir():
        raise UserError(f"--input {source}: no such folder; give a folder of photographs")
    if _lies_in(target, source):
        raise UserError(f"--output {target}: lies in the input folder; give another folder, so that no photograph is overwritten")
    paths: list[Path] = []
    for folder, folders, names in os.walk(source, onerror=_refuse_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(folder, name) for name in names if not name.startswith(".")]
    if not paths:
        raise UserError(f"--input {source}: holds no files; give a folder of photographs")
    files = [(path, target / path.relative_to(source)) for path in sorted(paths)]
    for parent in {result.parent for _, result in files}:
        if _lies_in(parent, source):
            raise UserError(f"--output {target}: results would go to {parent}, in the input folder; give a folder elsewhere")
        _refuse_target(target, parent)
    return files


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether a path, which need not exist, is a folder or lies below it, under whatever name."""
    resolved = path.resolve()
    return any(one.exists() and one.samefile(folder) for one in (resolved, *resolved.parents))


def _refuse_folder(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename}: cannot be listed ({error.strerror}); make it readable or take it out") from error


def _refuse_target(target: Path, folder: Path) -> None:
    """Refuse a folder that cannot be made or written, without making it."""
    path = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    if not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        why = "may not be written" if path.is_dir() else "is a file"
        raise UserError(f"--output {target}: '{path}' {why}; give another folder")


def _denoise_all(model: nn.Module, channels: int, todo: list[tuple[Path, Path]], tiling: Tiling, jobs: int, applied: Applied) -> None:
    """Denoise one photograph after the other in this thread; others read the next and write the last ones.

    A photograph is read only when the one ``jobs`` places before it has been written, so at most ``jobs`` are in memory.
    """
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(todo), desc="photographs", unit="file", leave=False, disable=None) as bar:
        ahead = deque(pool.submit(read_photo, path, channels) for path, _ in todo[:jobs])
        saves: deque[Future[None]] = deque(maxlen=jobs)
        for k, (path, result) in enumerate(todo):
            saved = pool.submit(_save, _denoised(model, path, ahead.popleft(), tiling, applied), result, applied)
            saves.append(saved)
            if k + jobs < len(todo):
                ahead.append(pool.submit(_read_after, saved, todo[k + jobs][0], channels))
            bar.update()
        for saved in saves:
            saved.result()


def _denoised(model: nn.Module, path: Path, reading: Future[Photo], tiling: Tiling, applied: Applied) -> Photo | None:
    """The photograph with new pixels; None, and a note, where that is not possible."""
    try:
        photo = reading.result()
    except UserError as error:
        applied.refuse(error)
        return None
    count = tiling.count(*photo.pixels.shape[1:])
    try:
        with tqdm(total=count, desc=path.name, unit="tile", leave=False, disable=None) as bar:
            return replace(photo, pixels=denoise(model, photo.pixels, tiling, bar.update))
    except UserError as error:
        applied.refuse(UserError(f"{path}: {error}"))
        return None


def _read_after(saved: Future[None], path: Path, channels: int) -> Photo:
    saved.result()
    return read_photo(path, channels)


def _save(photo: Photo | None, result: Path, applied: Applied) -> None:
    if photo is None:
        return
    try:
        result.parent.mkdir(parents=True, exist_ok=True)
        with Folder(result.parent).complete(result.name) as path:
            path.write_bytes(photo.encode())
    except (UserError, OSError) as error:
        applied.refuse(error if isinstance(error, UserError) else UserError(f"{result}: cannot be written ({error.strerror})"))
        return
    applied.pixels.append(photo.pixels[0].size)
