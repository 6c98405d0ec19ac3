"""How long the stages of a run take."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Clock:
    """Adds up the seconds of each stage.

    Example:
        >>> clock = Clock()
        >>> with clock("load"):
        ...     pass
        >>> list(clock.seconds)
        ['load']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time the block as one stage, or as a further part of it."""
        start = perf_counter()
        yield
        self.add(stage, perf_counter() - start)

    def add(self, stage: str, seconds: float) -> None:
        """Add seconds that were measured elsewhere to those of a stage."""
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + seconds, 3)
