"""The section `tune` of the settings."""

import re
from dataclasses import dataclass

from qprune_cli.errors import UserError

MOST = 2**32 - 1


@dataclass(frozen=True)
class TuneSettings:
    """How long to search, and where; configs/tune.yaml says what each means.

    Raises:
        UserError: a value is out of range.
    """

    trials: int
    seed: int
    name: str | None

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise UserError(f"tune.trials={self.trials}: give a whole number, at least 1")
        if not 0 <= self.seed <= MOST:
            raise UserError(f"tune.seed={self.seed}: give a whole number, at least 0 and at most {MOST}")
        if self.name is not None and not re.fullmatch(r"\w[\w.+-]*", self.name):
            raise UserError(f"tune.name={self.name}: gives a folder its name; take letters, digits, '_', '-', '+' and '.'")
