"""Files that a user names on the command line: checked before work begins, and written whole."""

from pathlib import Path

from qprune_cli.errors import UserError
from qprune_cli.record.folder import Folder


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
    """Write a file that appears only when it is complete; its folder is made as well.

    Raises:
        UserError: it cannot be written.
    """
    Folder.at(path.parent).text(path.name, text)
