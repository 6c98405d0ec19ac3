"""From Hydra's grammar of choices, ranges and intervals to the values that a setting may take in a search."""

from qprune_cli.compose.hydra import ChoiceSweep, IntervalSweep, Override, RangeSweep
from qprune_cli.compose.space import DIGITS, Choice, Entry, Span
from qprune_cli.errors import UserError, nearest

TAGS = ("log", "int")


def entry(override: Override) -> Entry:
    """The entry of the space that an override describes which gives a setting several values.

    Raises:
        UserError: no value, ends in the wrong order, or a tag that means nothing here.
    """
    text, value = str(override.input_line).split("=", 1)[1], override.value()
    key = override.get_key_element()
    if isinstance(value, IntervalSweep):
        return _interval(key, text, value)
    if isinstance(value, RangeSweep):
        return _range(key, text, value)
    assert isinstance(value, ChoiceSweep) or override.is_choice_sweep()
    values = tuple(dict.fromkeys(override.sweep_string_iterator()))
    if not values:
        raise UserError(f"{key}={text}: holds no value; give some, such as choice(a, b)")
    return Choice(key, values, text)


def _interval(key: str, text: str, value: IntervalSweep) -> Span:
    for tag in sorted(value.tags - set(TAGS)):
        raise UserError(f"{key}={text}: tag '{tag}' means nothing in a search; {nearest(tag, TAGS)}")
    low, high = float(value.start or 0), float(value.end or 0)
    whole, log = isinstance(value.start, int) or "int" in value.tags, "log" in value.tags
    if low > high:
        raise UserError(f"{key}={text}: the lower end comes first, as in interval({high:g}, {low:g})")
    if log and low <= 0:
        raise UserError(f"{key}={text}: a logarithm needs ends above 0; raise the lower one or leave the tag out")
    if whole and not (low.is_integer() and high.is_integer()):
        raise UserError(f"{key}={text}: whole numbers need whole ends")
    return Span(key, low, high, text, step=1.0 if whole and not log else 0.0, log=log, whole=whole)


def _range(key: str, text: str, value: RangeSweep) -> Entry:
    try:
        numbers = sorted(value.range())
    except (ValueError, ArithmeticError) as error:
        raise UserError(f"{key}={text}: is no range ({error}); give range(START, STOP, STEP)") from error
    if not numbers:
        raise UserError(f"{key}={text}: holds no value; the second number is where it stops, as in range(1, 5)")
    whole = all(isinstance(number, int) for number in numbers)
    if len(numbers) == 1:
        return Choice(key, (f"{numbers[0]:.{DIGITS}g}",), text)
    return Span(key, float(numbers[0]), float(numbers[-1]), text, step=abs(float(value.step)), whole=whole)
