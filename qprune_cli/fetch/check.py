"""`qprune data check`: what a folder of images holds, what is missing or damaged."""

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from qprune_cli.data.pairs import check_patterns, find_pairs
from qprune_cli.data.sidd import Frame, find_frames, parse_instance
from qprune_cli.errors import UserError
from qprune_cli.images.cache import READERS
from qprune_cli.images.files import PairFiles
from qprune_cli.images.mat import CLEAN, NOISY, read_validation

OFFICIAL = {160: "SIDD_Small", 320: "SIDD_Medium"}  # pairs of frames in 160 scene instances


def check(root: Path, noisy: str, clean: str) -> Iterator[str]:
    """Look at every file below a folder; yields the lines to print.

    SIDD's layout, its validation files and archives are recognised; anything else is taken for pairs of images.

    Args:
        root: the folder.
        noisy: pattern of the noisy images, as for ``data=pairs``.
        clean: pattern of the clean ones.

    Raises:
        UserError: no such folder, a pattern without ``*``, or, after the last line, how many problems there were.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the folder of a data set")
    check_patterns(noisy, clean)
    problems: list[str] = []
    leftovers = [path for ending in ("*.part", "*.unfinished", "*.zip") for path in sorted(root.rglob(ending))]
    yield from (f"left over: {path} (an unfinished download or an archive)" for path in leftovers)
    mats = [path for name in (NOISY, CLEAN) for path in root.rglob(f"{name}.mat")]
    has_scenes = any(parse_instance(path.name) for path in root.rglob("*_*_*") if path.is_dir())
    if mats:
        yield from _validation(mats[0].parent, problems)
    if has_scenes:
        yield from _frames(root, find_frames(root), problems)
    if not mats and not has_scenes:
        yield from _pairs(root, noisy, clean, problems)
    yield from (f"problem: {problem}" for problem in problems)
    if problems:
        many = "s" if len(problems) > 1 else ""
        raise UserError(f"{root}: {len(problems)} problem{many}, listed above; replace these files or take them out")
    yield "no problem found"


def _validation(folder: Path, problems: list[str]) -> Iterator[str]:
    try:
        images = read_validation(folder)
    except UserError as error:
        problems.append(str(error))
        return
    yield f"SIDD validation blocks in {folder}: {len(images)} of 1280"


def _frames(root: Path, frames: list[Frame], problems: list[str]) -> Iterator[str]:
    instances = {frame.instance for frame in frames}
    official = OFFICIAL.get(len(frames), f"part of SIDD ({', '.join(f'{n} pairs are {name}' for n, name in OFFICIAL.items())})")
    yield f"{root}: {len(frames)} noisy frames of {len(instances)} scene instances: {official}"
    for what, values in (("scenes", [i.scene for i in instances]), ("phones", [i.phone for i in instances])):
        yield f"{what}: " + ", ".join(f"{value} ({count})" for value, count in sorted(Counter(values).items()))
    isos = sorted(instance.iso for instance in instances)
    yield f"ISO {isos[0]} to {isos[-1]}"
    problems += [f"{frame.noisy}: its clean frame (GT_SRGB) is missing" for frame in frames if frame.clean is None]
    with_frames = {frame.noisy.parent for frame in frames}
    folders = [path for path in sorted(root.rglob("*_*_*")) if path.is_dir() and parse_instance(path.name)]
    problems += [f"{folder}: holds no noisy frame (NOISY_SRGB)" for folder in folders if folder not in with_frames]
    yield from _sizes([PairFiles(f.name, f.noisy, f.clean) for f in frames if f.clean], problems)


def _pairs(root: Path, noisy: str, clean: str, problems: list[str]) -> Iterator[str]:
    try:
        pairs = find_pairs(root, noisy, root, clean)
    except UserError as error:
        problems.append(str(error))
        return
    yield f"{root}: {len(pairs)} pairs"
    yield from _sizes(pairs, problems)


def _sizes(pairs: Iterable[PairFiles], problems: list[str]) -> Iterator[str]:
    """Decode every pair; what is damaged or does not match is a problem."""
    pairs = list(pairs)
    with ThreadPoolExecutor(READERS) as pool:
        shapes = list(tqdm(pool.map(_shape, pairs), "check", len(pairs), unit="pair", leave=False, disable=None))
    problems += [shape for shape in shapes if isinstance(shape, str)]
    sizes = Counter(f"{shape[2]} x {shape[1]}" for shape in shapes if not isinstance(shape, str))
    yield "sizes: " + (", ".join(f"{size} ({count})" for size, count in sizes.most_common(8)) or "none could be read")


def _shape(pair: PairFiles) -> tuple[int, ...] | str:
    """Shape of a pair, or what is wrong with it; grey and colour are both fine."""
    try:
        return pair.decode(pair.contents(), None)[0].shape
    except UserError as error:
        return str(error)
