"""Files that appear whole or not at all; the one place that renames a file to its name."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; the file gets its name when the block ends well, and else nothing is left of it.

    The temporary path lies in the same folder, is hidden, and has ``unfinished`` in its name, by which those are found that a killed
    process leaves. It keeps the ending of the name, for writers that look at it, and no two blocks share one, for threads that write
    the same file. An earlier file of that name stays until the new one is complete.

    Args:
        path: name of the complete file.

    Raises:
        OSError: the file cannot be written or renamed.
    """
    temporary = path.with_name(f".{uuid4().hex}.unfinished{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with suppress(OSError):  # what went wrong before is what counts
            temporary.unlink(missing_ok=True)
