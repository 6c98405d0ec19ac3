"""Numbers as a reader wants them; what is not known is a dash."""

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
    """A whole number.

    Example:
        >>> count(139698), count(None)
        ('139,698', '–')
    """
    known = number(value)
    return UNKNOWN if known is None else f"{known:,.0f}"


def macs(value: Any) -> str:
    """Multiply-accumulates."""
    return scaled(value, ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")))


def size(value: Any) -> str:
    """Bytes.

    Example:
        >>> size(548_000), size(12)
        ('548 kB', '12 B')
    """
    return scaled(value, ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")), "B")


def scaled(value: Any, units: tuple[tuple[float, str], ...], plain: str = "") -> str:
    """Three digits and a unit."""
    known = number(value)
    if known is None:
        return UNKNOWN
    scale, unit = next(((scale, unit) for scale, unit in units if abs(known) >= 0.9995 * scale), (1.0, plain))
    told = known / scale
    digits = 0 if abs(told) >= 100 or (scale == 1 and told.is_integer()) else 1 if abs(told) >= 10 else 2
    return f"{told:,.{digits}f} {unit}".rstrip()


def ms(value: Any) -> str:
    """Milliseconds."""
    known = number(value)
    return UNKNOWN if known is None else f"{known:.{0 if known >= 1000 else 1 if known >= 1 else 3}f} ms"


def seconds(value: Any) -> str:
    """A time.

    Example:
        >>> seconds(0.024), seconds(5.25), seconds(605)
        ('0.02 s', '5.2 s', '10 min 5 s')
    """
    known = number(value)
    if known is None:
        return UNKNOWN
    if known < 120:
        return f"{known:.{2 if known < 1 else 1 if known < 10 else 0}f} s"
    minutes, rest = divmod(round(known), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 120 else f"{minutes} min {rest} s"


def share(value: Any, digits: int = 0) -> str:
    """A share in per cent."""
    known = number(value)
    return UNKNOWN if known is None else f"{100 * known:.{digits}f} %".replace("-", MINUS)


def trimmed(told: str) -> str:
    """Without zeros at the end of its digits.

    Example:
        >>> trimmed("6.50 G"), trimmed("200 k")
        ('6.5 G', '200 k')
    """
    digits, _, unit = told.partition(" ")
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits} {unit}".rstrip()


def plain(value: Any, digits: int = 4) -> str:
    """A number with so many digits that matter."""
    known = number(value)
    return UNKNOWN if known is None else f"{known:,.{digits}g}".replace("-", MINUS)


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
    """So many of something.

    Example:
        >>> listed(1, "warning"), listed(2, "warning")
        ('1 warning', '2 warnings')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
