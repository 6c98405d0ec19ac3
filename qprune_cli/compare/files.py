"""Files that appear only when they are complete."""

import os
import tempfile
from pathlib import Path

from qprune_cli.errors import UserError


def refuse_taken(option: str, path: Path | None, overwrite: bool) -> None:
    """Check that a file may be written, without writing it.

    Raises:
        UserError: it is there already, or a folder is.
    """
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"{option} {path}: a folder; give a file")
    if path.exists() and not overwrite:
        raise UserError(f"{option} {path}: there already; give another name, or --overwrite to replace it")


def write(path: Path, text: str) -> None:
    """Write under a temporary name in the same folder, and rename.

    Raises:
        UserError: the folder may not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); give another place") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        Path(name).chmod(0o666 & ~_mask())
        os.replace(name, path)  # noqa: PTH105  (the one that replaces a file everywhere)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _mask() -> int:
    """What new files may not be, which mkstemp does not follow."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
