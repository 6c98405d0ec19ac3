"""Tables as one data frame: what the csv holds, in plain numbers."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from qprune_cli.compare.row import Row
from qprune_cli.compare.settings import numeric
from qprune_cli.compare.table import Table


def frame(tables: Sequence[Table]) -> pd.DataFrame:
    """One line for each row of each table.

    Returns:
        ``block`` numbers the tables: what lies in different ones is not comparable. Then what was measured, the settings that name
        rows, and means over ``seeds``; ``_low`` and ``_high`` are the ends of 95 % intervals over the images, with ``_seeds`` over
        the seeds. Filters, parameters, MACs and latency are shares of the dense network's. What was not measured is empty.
    """
    return pd.DataFrame([_line(k + 1, table, row) for k, table in enumerate(tables) for row in table.rows])


def _line(block: int, table: Table, row: Row) -> dict[str, Any]:
    first = table.block.first
    line: dict[str, Any] = {"block": block, "images": len(first.images), "stage": table.stage, "measure": table.measure}
    line |= {"data": first.settings.get("data", "")}
    line |= {key: _value(value) for key, value in zip(table.keys, row.keys, strict=True)}
    line |= {"runs": len(row.runs), "seeds": len(row.by_seed), "obtained_sparsity": row.obtained}
    line |= {f"{name}_share": row.sizes[name] for name in ("filters", "params", "macs")}
    line |= {"quality": row.quality, "quality_low": row.over_images.low, "quality_high": row.over_images.high}
    line |= {"quality_seeds_low": row.over_seeds.low, "quality_seeds_high": row.over_seeds.high}
    line |= dict(row.others)
    line |= {"dense": row.dense, "minus_dense": row.lost, "minus_dense_low": row.lost_ends.low, "minus_dense_high": row.lost_ends.high}
    if table.baseline is not None:
        line |= {"is_baseline": row.is_baseline} | _against(row)
    line |= {"latency_share": row.sizes["latency_ms"], "fidelity_at_mask": row.fidelity, "gap": row.gap}
    return line | {"seconds": row.seconds, "warnings": row.warnings}


def _against(row: Row) -> dict[str, Any]:
    name, difference = "minus_baseline", row.against
    if difference is None:
        return {}
    return {
        name: difference.mean,
        f"{name}_low": difference.over_images[0],
        f"{name}_high": difference.over_images[1],
        f"{name}_seeds_low": difference.over_seeds[0],
        f"{name}_seeds_high": difference.over_seeds[1],
        f"{name}_seeds": difference.seeds,
        f"{name}_p": difference.p,
        f"{name}_p_holm": difference.p_holm,
    }


def _value(word: str) -> str | float | int:
    number = numeric(word)
    if number is None:
        return word
    return int(number) if word.lstrip("+-").isdigit() else number
