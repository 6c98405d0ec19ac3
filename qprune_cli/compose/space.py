"""The values that a setting may take in a search."""

from dataclasses import dataclass

DIGITS = 4  # that matter of a number that is drawn: its words stay short


@dataclass(frozen=True)
class Choice:
    """A setting that takes one of several values.

    Attributes:
        key: of the setting, such as ``scorer``; ``++`` before one whose keys are the user's own.
        values: in Hydra's grammar.
        text: as the user wrote it, such as ``gram,hybrid``.
    """

    key: str
    values: tuple[str, ...]
    text: str
    endless = False  # its values can be listed

    @property
    def name(self) -> str:
        """The key, without ``++`` before it."""
        return self.key.lstrip("+")

    @property
    def plain(self) -> str:
        """The values it may take, the same text however the user wrote them."""
        return f"choice({', '.join(self.values)})"

    @property
    def ends(self) -> tuple[str, ...]:
        """The values to try out to see that all of them can be taken."""
        return self.values

    def word(self, value: str | float) -> str:
        """The override that gives the setting a value.

        Example:
            >>> Choice("scorer", ("gram", "taylor"), "gram,taylor").word("taylor")
            'scorer=taylor'
        """
        return f"{self.key}={value}"


@dataclass(frozen=True)
class Span:
    """A setting that takes a number between two others, both included.

    Attributes:
        key: of the setting.
        low: the least number.
        high: the largest.
        text: as the user wrote it, such as ``interval(0.3, 0.8)``.
        step: between neighbours; 0 for any number.
        log: whether the logarithm is drawn evenly, not the number.
        whole: whether only whole numbers are meant.
    """

    key: str
    low: float
    high: float
    text: str
    step: float = 0
    log: bool = False
    whole: bool = False

    @property
    def name(self) -> str:
        """The key, without ``++`` before it."""
        return self.key.lstrip("+")

    @property
    def plain(self) -> str:
        """The values it may take, the same text however the user wrote them."""
        kinds = [name for name, is_so in (("log", self.log), ("int", self.whole)) if is_so]
        step = f", step {self.step:g}" if self.step else ""
        return " ".join([*kinds, f"interval({self.low:g}, {self.high:g}{step})"])

    @property
    def endless(self) -> bool:
        """Whether it may take any number between two different ends, so that its values cannot be listed."""
        return not self.step and self.low < self.high

    @property
    def ends(self) -> tuple[float, ...]:
        """The values to try out to see that all of them can be taken."""
        return tuple(dict.fromkeys((self.low, self.high)))

    @property
    def values(self) -> tuple[float, ...]:
        """All numbers where there are steps, else both ends."""
        if not self.step:
            return self.ends
        return tuple(self.low + k * self.step for k in range(round((self.high - self.low) / self.step) + 1))

    def word(self, value: str | float) -> str:
        """The override that gives the setting a number, rounded to few digits where it stays within.

        Example:
            >>> Span("sparsity", 0.3, 0.8, "interval(0.3, 0.8)").word(0.43721896)
            'sparsity=0.4372'
        """
        if self.whole:
            return f"{self.key}={round(float(value))}"
        short = f"{float(value):.{DIGITS}g}"
        return f"{self.key}={short if self.low <= float(short) <= self.high else repr(float(value))}"


Entry = Choice | Span
