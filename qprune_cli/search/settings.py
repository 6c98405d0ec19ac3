"""Settings that refiners share, and what they may be."""

from typing import Any

from qprune_cli.errors import UserError, nearest

OBJECTIVES = ("silenced", "compensated")


def check_settings(refiner: Any, **least: int) -> None:
    """Refuse settings of a refiner that are out of range.

    Args:
        refiner: with a field ``objective``.
        least: the smallest allowed value of its other settings.

    Raises:
        UserError: one is.
    """
    for name, smallest in least.items():
        if getattr(refiner, name) < smallest:
            raise UserError(f"refine.{name}={getattr(refiner, name)}: give a number, at least {smallest}")
    if refiner.objective not in OBJECTIVES:
        raise UserError(f"refine.objective={refiner.objective}: no such objective; {nearest(refiner.objective, OBJECTIVES)}")
