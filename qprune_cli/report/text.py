"""Numbers as text for a reader of a page; what is not known is a dash."""

from math import isfinite
from numbers import Real
from typing import Any

UNKNOWN = "–"
MINUS = "−"


def number(value: Any) -> float | None:
    """A finite number, or None: reports are made of files that may be damaged.

    Example:
        >>> number(2), number(float("nan")), number("many"), number(True)
        (2.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    return float(value) if isfinite(value) else None


def count(value: Any) -> str:
    """A whole number with commas between thousands.

    Example:
        >>> count(139698), count(None)
        ('139,698', '–')
    """
    amount = number(value)
    return UNKNOWN if amount is None else f"{amount:,.0f}"


def macs(value: Any) -> str:
    """A number of multiply-accumulates, with a prefix such as M or G."""
    return scaled(value, ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")))


def size(value: Any) -> str:
    """A number of bytes, with a prefix such as kB or MB.

    Example:
        >>> size(548_000), size(12)
        ('548 kB', '12 B')
    """
    return scaled(value, ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")), "B")


def scaled(value: Any, units: tuple[tuple[float, str], ...], plain: str = "") -> str:
    """A number with three digits in the largest unit that it reaches.

    Args:
        value: the number, in the plain unit.
        units: size and name of each, the largest first.
        plain: name of the plain unit.
    """
    amount = number(value)
    if amount is None:
        return UNKNOWN
    scale, unit = next(((scale, unit) for scale, unit in units if abs(amount) >= 0.9995 * scale), (1.0, plain))
    part = amount / scale
    digits = 0 if abs(part) >= 100 or (scale == 1 and part.is_integer()) else 1 if abs(part) >= 10 else 2
    return f"{part:,.{digits}f} {unit}".rstrip()


def ms(value: Any) -> str:
    """A time in milliseconds, with more digits the shorter it is."""
    time = number(value)
    return UNKNOWN if time is None else f"{time:.{0 if time >= 1000 else 1 if time >= 1 else 3}f} ms"


def seconds(value: Any) -> str:
    """A time in seconds, or in minutes and hours where it is long.

    Example:
        >>> seconds(0.024), seconds(5.25), seconds(605)
        ('0.02 s', '5.2 s', '10 min 5 s')
    """
    time = number(value)
    if time is None:
        return UNKNOWN
    if time < 120:
        return f"{time:.{2 if time < 1 else 1 if time < 10 else 0}f} s"
    minutes, rest = divmod(round(time), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 120 else f"{minutes} min {rest} s"


def share(value: Any, digits: int = 0) -> str:
    """A share in [0, 1] as per cent."""
    part = number(value)
    return UNKNOWN if part is None else f"{100 * part:.{digits}f} %".replace("-", MINUS)


def trimmed(text: str) -> str:
    """A number with its unit, without zeros at the end of its digits.

    Example:
        >>> trimmed("6.50 G"), trimmed("200 k")
        ('6.5 G', '200 k')
    """
    digits, _, unit = text.partition(" ")
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits} {unit}".rstrip()


def plain(value: Any, digits: int = 4) -> str:
    """A number with so many significant digits."""
    amount = number(value)
    return UNKNOWN if amount is None else f"{amount:,.{digits}g}".replace("-", MINUS)


def fell(now: Any, before: Any) -> str:
    """How much smaller something is than it was, as a change in per cent; empty where that is not known.

    Example:
        >>> fell(25, 100), fell(None, 1)
        ('−75 %', '')
    """
    new, old = number(now), number(before)
    if new is None or not old:
        return ""
    change = 100 * (new / old - 1)
    return "±0 %" if abs(change) < 0.05 else f"{change:+.{0 if abs(change) >= 1 else 1}f} %".replace("-", MINUS)


def listed(count: int, one: str, many: str = "") -> str:
    """So many of something, with its name in the singular or the plural.

    Example:
        >>> listed(1, "warning"), listed(2, "warning")
        ('1 warning', '2 warnings')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
