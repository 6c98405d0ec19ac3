"""From Hydra's grammar of choices, ranges and intervals to the values that a setting may take in a search."""

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from qprune_cli.compose.space import DIGITS, Choice, Entry, Span
from qprune_cli.errors import UserError, nearest

TAGS = ("log", "int")


def entry(override: Override) -> Entry:
    """What a setting may take, of an override that gives it several values.

    Raises:
        UserError: no value, ends in the wrong order, or a tag that means nothing here.
    """
    told, value = str(override.input_line).split("=", 1)[1], override.value()
    key = override.get_key_element()
    if isinstance(value, IntervalSweep):
        return _interval(key, told, value)
    if isinstance(value, RangeSweep):
        return _range(key, told, value)
    assert isinstance(value, ChoiceSweep) or override.is_choice_sweep()
    values = tuple(dict.fromkeys(override.sweep_string_iterator()))
    if not values:
        raise UserError(f"{key}={told}: holds no value; give some, such as choice(a, b)")
    return Choice(key, values, told)


def _interval(key: str, told: str, value: IntervalSweep) -> Span:
    for tag in sorted(value.tags - set(TAGS)):
        raise UserError(f"{key}={told}: tag '{tag}' means nothing in a search; {nearest(tag, TAGS)}")
    low, high = float(value.start or 0), float(value.end or 0)
    whole, log = isinstance(value.start, int) or "int" in value.tags, "log" in value.tags
    if low > high:
        raise UserError(f"{key}={told}: the lower end comes first, as in interval({high:g}, {low:g})")
    if log and low <= 0:
        raise UserError(f"{key}={told}: a logarithm needs ends above 0; raise the lower one or leave the tag out")
    if whole and not (low.is_integer() and high.is_integer()):
        raise UserError(f"{key}={told}: whole numbers need whole ends")
    return Span(key, low, high, told, step=1.0 if whole and not log else 0.0, log=log, whole=whole)


def _range(key: str, told: str, value: RangeSweep) -> Entry:
    try:
        numbers = sorted(value.range())
    except (ValueError, ArithmeticError) as error:
        raise UserError(f"{key}={told}: is no range ({error}); give range(START, STOP, STEP)") from error
    if not numbers:
        raise UserError(f"{key}={told}: holds no value; the second number is where it stops, as in range(1, 5)")
    whole = all(isinstance(number, int) for number in numbers)
    if len(numbers) == 1:
        return Choice(key, (f"{numbers[0]:.{DIGITS}g}",), told)
    return Span(key, float(numbers[0]), float(numbers[-1]), told, step=abs(float(value.step)), whole=whole)
