"""Checks of the settings that refiners share."""

from typing import Any

from qprune_cli.errors import UserError, nearest

OBJECTIVES = ("silenced", "compensated")  # networks that a refiner may measure: as the mask leaves them, or with re-fitted weights


def check_settings(refiner: Any, **least: int) -> None:
    """Refuse settings of a refiner that are out of range.

    Args:
        refiner: a component of the role ``refine`` with a field ``objective``.
        least: smallest allowed value of other fields, by their name.

    Raises:
        UserError: a field is below its smallest value, or the objective is none of ``OBJECTIVES``.
    """
    for name, smallest in least.items():
        if getattr(refiner, name) < smallest:
            raise UserError(f"refine.{name}={getattr(refiner, name)}: give a number, at least {smallest}")
    if refiner.objective not in OBJECTIVES:
        raise UserError(f"refine.objective={refiner.objective}: no such objective; {nearest(refiner.objective, OBJECTIVES)}")
