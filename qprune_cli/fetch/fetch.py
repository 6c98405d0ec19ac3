"""`qprune data fetch`: download SIDD, check it, unpack it."""

import hashlib
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from qprune_cli.data.sidd import find_frames
from qprune_cli.errors import UserError
from qprune_cli.fetch.download import RemoteFile, check_space, download, no_space
from qprune_cli.images.mat import CLEAN, NOISY, read_validation

# The authors' file server and their checksums (https://abdokamel.github.io/sidd); the validation files have none.
SERVER = "http://130.63.97.225/share"
ARCHIVES = {
    "sidd_small": RemoteFile(
        "SIDD_Small_sRGB_Only.zip",
        6_615_978_508,
        {"md5": "796971867583bf14677dcae510e52538", "sha1": "5a4aa6aa7abcf7b0b56c88ad578fea9a4ff77935"},
    ),
    "sidd_medium": RemoteFile(
        "SIDD_Medium_Srgb.zip",
        13_234_744_070,
        {"md5": "f95b4bc9ec1dd3fe4ebd61aeacad3991", "sha1": "b0f895258112db896d6ade0a8ddafc8cfc9bd54d"},
    ),
}
VALIDATION = (RemoteFile(f"SIDD_Blocks/{NOISY}.mat", 229_724_517), RemoteFile(f"SIDD_Blocks/{CLEAN}.mat", 232_055_617))
NAMES = (*ARCHIVES, "sidd_validation")


def fetch(name: str, folder: Path, server: str = SERVER) -> str:
    """Download one data set into a folder, check it and unpack it.

    Args:
        name: one of ``NAMES``.
        folder: where to; made where it is missing.
        server: address to download from.

    Returns:
        One line to print: the folder, how much it holds, and the settings that use it.

    Raises:
        UserError: no connection, no space, a wrong checksum, a damaged archive.
    """
    if name == "sidd_validation":
        return fetch_validation(folder / "SIDD_Validation", server)
    target = folder / ARCHIVES[name].name.removesuffix(".zip")
    if not target.is_dir():
        archive = download(ARCHIVES[name], server, folder)
        unpack(archive, target)
        archive.unlink()
    if not any(target.rglob("*_SRGB_*")):
        raise UserError(f"{target}: is in the way and holds no frames; move it away and fetch again")
    frames = len(find_frames(target))
    return f"{target}: {frames} noisy frames; use them with data=sidd data.root={target}"


def fetch_validation(folder: Path, server: str) -> str:
    """Download the validation blocks and read them once; their SHA-256 is kept beside them, and compared the next time.

    Returns:
        As ``fetch``.

    Raises:
        UserError: as ``download``; other contents than the official ones.
    """
    paths = [download(remote, server, folder) for remote in VALIDATION]
    try:
        blocks = len(read_validation(folder))
    except UserError as error:
        raise UserError(f"{error}; move both files away first") from error
    for path in paths:
        note = path.with_suffix(".mat.sha256")
        with path.open("rb") as file:
            line = f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n"
        if note.is_file() and note.read_text() != line:
            raise UserError(f"{path}: is no longer what was fetched at first, as {note.name} says; delete one of the two and fetch again")
        note.write_text(line)
    return f"{folder}: {blocks} blocks; test on them with data=sidd data.validation={folder}"


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip archive; the folder has its name only when all is there.

    Where the archive holds one folder of the target's name, as the official ones do, that becomes the target.

    Args:
        archive: the zip file.
        target: folder to make.

    Raises:
        UserError: a damaged archive, one that reaches outside its folder, or no space left.
    """
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = zipped.infolist()
            for member in members:
                _refuse_escape(archive, member)
            check_space(archive.parent, sum(member.file_size for member in members), f"unpacking {archive.name}")
            for member in tqdm(members, desc="unpack", unit="file", disable=None):
                zipped.extract(member, unfinished)
        inner = unfinished / target.name
        (inner if inner.is_dir() else unfinished).replace(target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{archive}: damaged archive ({why}); delete it and fetch it again") from error
    except OSError as error:
        raise no_space(archive.parent, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _refuse_escape(archive: Path, member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    link = stat.S_ISLNK(member.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]) or link:
        raise UserError(f"{archive}: '{member.filename}' would be written outside of its folder; not unpacked, do not trust this archive")
