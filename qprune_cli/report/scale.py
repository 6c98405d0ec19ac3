"""From values to positions on a drawing, and the round numbers that stand beside an axis."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high`` onto positions from ``start`` to ``end``; with ``log`` by their logarithm.

    Example:
        >>> Scale(0, 10, 100, 200)(2.5), Scale(1, 100, 0, 10, log=True)(10)
        (125.0, 5.0)
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where a value lies; one outside lies at the end."""
        low, high, inside = (log10(x) if self.log else x for x in (self.low, self.high, min(max(value, self.low), self.high)))
        return self.start + (self.end - self.start) * (inside - low) / (high - low)

    def ticks(self, count: int = 5) -> list[float]:
        """About so many round numbers; powers of ten on a logarithmic scale.

        Example:
            >>> Scale(0, 1, 0, 100).ticks(4)
            [0.0, 0.25, 0.5, 0.75, 1.0]
        """
        if self.log:
            first, last = ceil(log10(self.low) - 1e-9), floor(log10(self.high) + 1e-9)
            every = max(1, ceil((last - first + 1) / (count + 1)))
            return [10.0**power for power in range(first, last + 1, every)]
        step = round_step((self.high - self.low) / count)
        return [round(k * step, 12) for k in range(ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9) + 1)]


def round_step(rough: float) -> float:
    """The next larger number of 1, 2, 2.5 or 5 times a power of ten.

    Example:
        >>> round_step(0.3), round_step(23)
        (0.5, 25.0)
    """
    power = 10.0 ** floor(log10(rough))
    return next(step * power for step in STEPS if step * power >= rough * (1 - 1e-9))


def around(values: Iterable[float], margin: float = 0.06) -> tuple[float, float]:
    """Ends of an axis that shows all finite values, with a little room beside them; 0 and 1 where there are none.

    Example:
        >>> around([1.0, 3.0], margin=0.5)
        (0.0, 4.0)
    """
    finite = [value for value in values if isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    room = margin * (high - low) or max(abs(low) * margin, 1e-6)
    return low - room, high + room


def short(value: float) -> str:
    """A number as it stands beside an axis: short, with a true minus sign.

    Example:
        >>> [short(value) for value in (0.25, 1500.0, 2e6, 1e-5, 0.0, -3.0)]
        ['0.25', '1,500', '2e6', '1e−5', '0', '−3']
    """
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e6:
        digits, power = f"{value:.1e}".split("e")
        return f"{digits.removesuffix('.0')}e{int(power)}".replace("-", "−")
    return f"{value:,.6g}".replace("-", "−") if abs(value) < 1000 else f"{value:,.0f}".replace("-", "−")
