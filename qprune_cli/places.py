"""Where things lie: the shipped folders with the components in them (one yaml file each), and the cache of this user."""

import os
from pathlib import Path

from qprune_cli.errors import UserError, nearest


def config_dir() -> Path:
    """The folder ``configs``, with one folder for each role and one yaml file for each component."""
    return _shipped("configs", "run.yaml")


def checkpoint_dir() -> Path:
    """The folder ``checkpoints``, with the weights that ship with qprune."""
    return _shipped("checkpoints", "README.md")


def _shipped(name: str, sign: str) -> Path:
    """A folder inside an installed package, or beside the package in a checkout; ``sign`` is a file that it holds."""
    package = Path(__file__).resolve().parent
    return next(folder for folder in (package / name, package.parent / name) if (folder / sign).is_file())


def roles() -> list[str]:
    """Names of all roles, such as ``scorer``, in alphabetical order."""
    return sorted(folder.name for folder in config_dir().iterdir() if folder.is_dir())


def components(role: str) -> dict[str, str]:
    """Names of the components of a role, each with the first comment of its yaml file: what it is for.

    Raises:
        UserError: no such role.
    """
    if role not in roles():
        raise UserError(f"{role}: no such role; {nearest(role, roles())}")
    return {path.stem: _purpose(path) for path in sorted((config_dir() / role).glob("*.yaml"))}


def _purpose(path: Path) -> str:
    comments = (line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#"))
    return next((comment for comment in comments if not comment.startswith("@package")), "")


def absolute_path(path: str) -> str:
    """A path from the root, with ``~`` expanded, so that a record of the settings holds in any folder."""
    return str(Path(path).expanduser().absolute())


def cache_home() -> Path:
    """The folder of caches: QPRUNE_CACHE, or else ``qprune`` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("QPRUNE_CACHE") or Path(home) / "qprune").expanduser()
