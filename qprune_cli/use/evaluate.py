"""Measuring a finished run on other images."""

import logging
from pathlib import Path

import yaml

from qprune_cli.device import pick_device
from qprune_cli.errors import UserError
from qprune_cli.evaluate.masked import qualities, restored
from qprune_cli.evaluate.quality import examples, judge, refuse_unjudgeable
from qprune_cli.plan import EvaluatePlan
from qprune_cli.record.crops import write_crop
from qprune_cli.record.folder import Folder
from qprune_cli.record.run import write_manifest, write_metrics
from qprune_cli.record.table import evaluate_table
from qprune_cli.structure.measure import measured
from qprune_cli.types import REFERENCE_SIDE
from qprune_cli.use.load import Run

LOG = logging.getLogger("qprune_cli")


def evaluate(plan: EvaluatePlan, run: Run) -> Path:
    """Measure the smaller network of a run, and the dense one where its weights are still there, on the test images of a data set.

    Args:
        plan: the images and settings.
        run: what was loaded of the run.

    Returns:
        A folder with metrics.json, metrics.csv, images.csv and crops.

    Raises:
        UserError: the images do not fit the network.
    """
    asked = plan.settings
    if plan.data.channels != run.channels:
        raise UserError(
            f"data.channels={plan.data.channels}: the network of {plan.run} takes {run.channels}; set data.channels={run.channels}"
        )
    images, device = plan.data.test(), pick_device(asked.device)
    refuse_unjudgeable(images, run.channels)
    networks, warnings = {"pruned": run.model.to(device)}, []
    try:
        networks = {"dense": run.dense().to(device)} | networks
    except UserError as error:
        warnings.append(f"the dense network is not measured: {error}")
    folder = Folder.fresh(Path(asked.output_root) / "evaluations", f"{plan.components['data']}_{plan.run.resolve().name}")
    with folder.log():
        folder.text("config.yaml", yaml.safe_dump(plan.config, sort_keys=False))
        found, shape = qualities(networks, images, asked.ssim3d), (run.channels, REFERENCE_SIDE, REFERENCE_SIDE)
        filters = {"dense": int(run.layout.sizes.sum()), "pruned": int(run.layout.sizes[run.keep].sum())}
        stages = {name: measured(network, found[name], shape, filters[name]) for name, network in networks.items()}
        identity = judge((pair.noisy for pair in images.pairs), images, asked.ssim3d)
        for name, k in examples(found["pruned"]).items():
            write_crop(folder, name, images.pairs[k], restored(networks, images.pairs[k]))
        write_metrics(folder, identity, stages, shape, run=str(plan.run.resolve()), warnings=warnings)
        for warning in warnings:
            LOG.warning(warning)
        LOG.info("%s\n%s", folder.path, evaluate_table(identity, stages))
        write_manifest(folder, 0, device, {}, run.plan["sha256"])
    return folder.path
