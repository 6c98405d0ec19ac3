"""What the jobs of one process share: the value that was made last, such as the images."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A cache of one value, the last one, with its key; it goes before a new one is made, as both may not fit in memory.

    Example:
        >>> recent = Recent[str, int]()
        >>> recent.get("a", lambda: 1), recent.get("a", lambda: 2), recent.get("b", lambda: 3)
        (1, 1, 3)
    """

    def __init__(self) -> None:
        self._values: dict[K, V] = {}

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of a key; it is made where the last one had another key."""
        if key not in self._values:
            self._values.clear()
            self._values[key] = make()
        return self._values[key]
