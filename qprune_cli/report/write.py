"""The page of a run, of a sweep, or of all runs below a folder, written as report.html."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qprune_cli.compare.compare import side_by_side
from qprune_cli.compare.files import refuse_taken, write
from qprune_cli.compare.find import find
from qprune_cli.compare.gather import gather
from qprune_cli.errors import UserError
from qprune_cli.record.folder import REPORT_FILE
from qprune_cli.report.parts import read_parts
from qprune_cli.report.run_page import run_page
from qprune_cli.report.sweep_page import sweep_page

CONFIG = "config.yaml"
LASTING = ("manifest.json", "mask.npz", "metrics.json", "plan.json")  # by which a run is known that has lost its settings
LOG = logging.getLogger("qprune_cli")


def report(path: str | Path, output: Path | None = None, overwrite: bool = False) -> Path:
    """Write the page of a run, of a sweep, or of all runs below a folder.

    Args:
        path: the folder.
        output: where the page goes; None for report.html in the folder, where it takes the place of an earlier one.
        overwrite: whether ``output`` may replace a file.

    Returns:
        Where the page is.

    Raises:
        UserError: there is no run, or the page cannot be written.

    Example:
        >>> report("nowhere")
        Traceback (most recent call last):
        ...
        qprune_cli.errors.UserError: nowhere: no such folder; give the folder of a run, of a sweep, or one above them
    """
    folder = Path(path)
    refuse_taken("--output", output, overwrite)
    page = folder / REPORT_FILE if output is None else output
    write(page, _page(folder, linked=output is None))
    return page


def report_of_run(folder: Path, manifest: Mapping[str, Any]) -> Path | None:
    """Write the page of a run that is about to end: it is complete but for its manifest.

    A page that cannot be made never spoils a run: the log says why, and the run goes on to its end without it.

    Args:
        folder: of the run.
        manifest: what manifest.json is going to say.

    Returns:
        Where the page is; None where it could not be made.

    Raises:
        UserError: it cannot be written, for want of space.
    """
    return _careful(folder, lambda: run_page(read_parts(folder, manifest), _above(folder)))


def report_of_sweep(folder: Path) -> Path | None:
    """Write the page of a sweep that is about to end; one that cannot be made never spoils it, as with a run.

    Args:
        folder: below which its jobs lie.

    Returns:
        Where the page is; None where it could not be made.

    Raises:
        UserError: it cannot be written, for want of space.
    """
    return _careful(folder, lambda: _page(folder))


def _careful(folder: Path, make: Callable[[], str]) -> Path | None:
    try:
        page = make()
    except UserError:
        raise
    except Exception:  # a bug of the page, not of what it tells of
        LOG.exception("%s: could not be made; all else is complete without it, and `qprune report` tries again", folder / REPORT_FILE)
        return None
    write(folder / REPORT_FILE, page)
    return folder / REPORT_FILE


def _page(folder: Path, linked: bool = True) -> str:
    """The page of whatever a folder holds; ``linked`` to those around it."""
    if not (folder / CONFIG).exists() and any((folder / name).is_file() for name in LASTING):
        return run_page(read_parts(folder), _above(folder) if linked else "")
    runs = find([folder])
    if len(runs) == 1 and runs[0].path == folder:
        return run_page(read_parts(folder), _above(folder) if linked else "")
    gathered = gather(runs)
    return sweep_page(folder, gathered, side_by_side(gathered), linked)


def _above(folder: Path) -> str:
    """Address of the page of the sweep that a run belongs to; empty for none."""
    return f"../{REPORT_FILE}" if (folder.absolute().parent / "sweep.json").is_file() else ""
