"""Checks of settings that several scorers have; each refuses in one sentence."""

from collections.abc import Collection

from qprune_cli.calibration.loss import check_loss
from qprune_cli.errors import UserError, nearest


def check_pass(loss: str, batch: int) -> None:
    """Check the loss and the number of images of a pass over the calibration images.

    Raises:
        UserError: unknown loss, or batch below 1.
    """
    check_loss(loss)
    if batch < 1:
        raise UserError(f"scorer.batch={batch}: give a number of images, at least 1")


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Check a setting of a scorer that has one of several names as its value.

    Raises:
        UserError: the value is none of the choices.
    """
    if value not in choices:
        raise UserError(f"scorer.{name}={value}: no such {name}; {nearest(value, choices)}")


def check_count(name: str, value: int) -> None:
    """Check a setting of a scorer that counts something.

    Raises:
        UserError: the number is below 1.
    """
    if value < 1:
        raise UserError(f"scorer.{name}={value}: give a number, at least 1")
