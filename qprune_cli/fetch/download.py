"""Downloading one file: with progress, resumed after a cut, checked, and under its name only when it is complete."""

import errno
import hashlib
import http.client
import logging
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from qprune_cli.errors import UserError

LOG = logging.getLogger("qprune_cli")
CHUNK = 1 << 18
TIMEOUT = 60.0


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server.

    Attributes:
        path: below the server's address.
        size: in bytes.
        digests: published checksums, by the name of the algorithm.
    """

    path: str
    size: int
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the file, without the folders on the server."""
        return self.path.rsplit("/", 1)[-1]


def download(remote: RemoteFile, server: str, folder: Path, patience: int = 5, pause: float = 1.0) -> Path:
    """Download a file; go on where an earlier attempt stopped.

    Bytes go to ``NAME.part``, which gets its name when size and checksums are right. A part whose checksum is wrong is deleted; a
    part that is merely short stays, for the next attempt.

    Args:
        remote: what to download.
        server: address that ``remote.path`` is below.
        folder: where to.
        patience: attempts in a row that bring no byte before it gives up.
        pause: seconds before the second attempt; doubled for every further one.

    Returns:
        Path of the complete file.

    Raises:
        UserError: no connection, no such file, no space left, another size, a wrong checksum.
    """
    path, part = folder / remote.name, folder / f"{remote.name}.part"
    if not server.startswith(("http://", "https://")):
        raise UserError(f"--server {server}: give an address that begins with http:// or https://")
    url = f"{server.rstrip('/')}/{remote.path}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{remote.name}.lock", timeout=0) as lock:
            try:
                _complete(path, part, url, remote, patience, pause)
            finally:
                Path(lock.lock_file).unlink(missing_ok=True)
    except Timeout as error:
        raise UserError(f"{path}: another process downloads it; wait until it ends") from error
    except OSError as error:
        raise no_space(folder, error) from error
    return path


def _complete(path: Path, part: Path, url: str, remote: RemoteFile, patience: int, pause: float) -> None:
    """Make sure that the file is there, whole and right."""
    if path.is_file():
        if wrong := _wrong(path, remote):
            raise UserError(f"{path}: is in the way and {wrong}; move it away and fetch again")
        return
    check_space(path.parent, remote.size - _length(part), remote.name)
    _fill(part, url, remote, patience, pause)
    if wrong := _wrong(part, remote):
        part.unlink()
        raise UserError(f"{url}: {wrong}; it was deleted, fetch it again or from elsewhere with --server ADDRESS")
    part.replace(path)


def check_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin with a file that will not fit into a folder.

    Raises:
        UserError: less than ``needed`` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(f"{what}: needs {needed / 2**30:.1f} GiB in '{folder}', {free / 2**30:.1f} are free; make room or give --to FOLDER")


def no_space(folder: Path, error: OSError) -> UserError:
    """The error to raise where writing to a folder failed; its sentence says why, and what to do."""
    reason = "no space left" if error.errno == errno.ENOSPC else f"cannot be written ({error.strerror or error})"
    return UserError(f"{folder}: {reason}; make room or give --to FOLDER, what is there already is kept")


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _fill(part: Path, url: str, remote: RemoteFile, patience: int, pause: float) -> None:
    """Append to the part until it is as large as the remote file."""
    failures, why = 0, ""
    with tqdm(
        total=remote.size, initial=_length(part), desc=remote.name, unit="B", unit_scale=True, unit_divisor=1024, disable=None
    ) as bar:
        while (start := _length(part)) < remote.size:
            if failures == patience:
                raise UserError(f"{url}: stopped after {start:,} of {remote.size:,} bytes ({why}); run the same command again to go on")
            if failures:
                time.sleep(pause * 2 ** (failures - 1))
            try:
                for count in _append(part, url, start, remote.size):
                    bar.update(count)
            except urllib.error.HTTPError as error:
                why = f"the server says {error.code} {error.reason}"
                if error.code in (401, 403, 404, 410):
                    raise UserError(f"{url}: {why}; look for the file elsewhere and give --server ADDRESS") from error
                if error.code == 416:  # the server has no more, but there should be
                    raise _other_file(url, start, remote.size) from error
            except _Cut as error:
                why = str(error)
            failures = 0 if _length(part) > start else failures + 1
            if _length(part) < remote.size:
                LOG.info("%s: %s, trying again", remote.name, why or "cut off")
            bar.n = _length(part)
            bar.refresh()


class _Cut(Exception):
    """The network failed; another attempt may go on."""


def _append(part: Path, url: str, start: int, size: int) -> Iterator[int]:
    """Ask for the bytes from ``start`` on and write them; yields how many each chunk has."""
    with _network():
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {}), timeout=TIMEOUT
        )
    with response:
        continues = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        begins, offered = start if continues else 0, response.headers.get("Content-Length")
        if offered and begins + int(offered) != size:  # not that file: an error page, or another version
            raise _other_file(url, begins + int(offered), size)
        with part.open("ab" if continues else "wb") as file:  # a server without ranges begins anew
            while True:
                with _network():
                    chunk = response.read(CHUNK)
                if not chunk:
                    return
                if file.tell() + len(chunk) > size:
                    raise _other_file(url, file.tell() + len(chunk), size)
                file.write(chunk)
                yield len(chunk)


@contextmanager
def _network() -> Iterator[None]:
    """What goes wrong here is the network's fault, not the disk's: both raise OSError."""
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except (http.client.HTTPException, OSError) as error:
        raise _Cut(" ".join(str(getattr(error, "reason", "") or error or type(error).__name__).split())) from error


def _other_file(url: str, size_there: int, size: int) -> UserError:
    return UserError(f"{url}: has {size_there:,} bytes, the published file {size:,}; it is another one, give --server ADDRESS")


def _wrong(path: Path, remote: RemoteFile) -> str:
    """What is wrong with a file, compared with the published size and checksums; nothing where it is right."""
    if _length(path) != remote.size:
        return f"has {_length(path):,} bytes, the published file {remote.size:,}"
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in remote.digests}
    with path.open("rb") as file, tqdm(total=remote.size, desc="verify", unit="B", unit_scale=True, leave=False, disable=None) as bar:
        while chunk := file.read(CHUNK):
            bar.update(len(chunk))
            for digest in hashes.values():
                digest.update(chunk)
    sums = {name: digest.hexdigest() for name, digest in hashes.items()}
    return "; ".join(f"its {name} is {sums[name]}, published is {right}" for name, right in remote.digests.items() if sums[name] != right)
