"""What of a network could go, before anything is solved."""

from dataclasses import replace

import numpy as np

from qprune_cli.calibration.gates import gate_statistics
from qprune_cli.cost.cost import Cost
from qprune_cli.device import pick_device
from qprune_cli.errors import UserError
from qprune_cli.record.budget import asked_line
from qprune_cli.record.table import inspect_table
from qprune_cli.run.budgets import allowed, budgets, fewest_mask
from qprune_cli.run.job import prepare
from qprune_cli.run.plan import RunPlan

INSPECTED_AT_ONCE = 8  # calibration images


def inspect(plan: RunPlan) -> str:
    """Say what of a network could go, before anything is solved.

    Raises:
        UserError: bad data or weights, or the network cannot be followed.
    """
    settings = plan.settings
    trained = plan.model.trained
    dense = (plan.model.load() if trained else plan.model.build().eval()).to(pick_device(settings.device))
    mild = replace(settings, sparsity=0.0, budget="filters", scope="global", limits={}, rounds=1)
    job = prepare(mild, dense, plan.data.load(settings.seed), plan.model.keep_layers, plan.model.wrap)
    images = job.splits.calibration
    dead = gate_statistics(dense, job.layout, images, settings.loss, INSPECTED_AT_ONCE).dead if trained else None
    cost = Cost(dense, job.layout, job.shape)
    fewest = fewest_mask(job.layout, allowed(settings, job.layout))
    smallest, largest = (cost.footprint(keep) for keep in (fewest, np.ones(job.layout.n, bool)))
    least = (
        f"floor={settings.floor}"
        + (f", round_to={settings.round_to}" if settings.round_to > 1 else "")
        + (", limits" if settings.limits else "")
    )
    try:
        reachable = f"sparsity={settings.sparsity:g} {asked_line(budgets(settings, dense, job.layout, job.shape)[-1])}"
    except UserError as error:
        reachable = f"not reachable: {error}"
    return f"{inspect_table(job.layout, dead, least, smallest, largest, job.shape)}\n{reachable}"
