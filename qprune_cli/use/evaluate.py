"""Measuring a finished run on other images."""

import logging
from pathlib import Path

import yaml

from qprune_cli.cost.measure import measured
from qprune_cli.device import pick_device
from qprune_cli.errors import UserError
from qprune_cli.evaluate.masked import qualities, restored
from qprune_cli.evaluate.task import task_of
from qprune_cli.record.crops import write_crop
from qprune_cli.record.folder import Folder
from qprune_cli.record.manifest import write_manifest
from qprune_cli.record.metrics import run_metrics, write_metrics
from qprune_cli.record.table import evaluate_table
from qprune_cli.run.plan import EvaluatePlan
from qprune_cli.types import FITTING
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
    settings, task = plan.settings, task_of(run.network)
    refuse_other_data(plan, run)
    images, device = plan.data.test(), pick_device(settings.device)
    task.refuse_unjudgeable(images, run.channels)
    task.refuse_unfit(run.model, (images,))
    networks, warnings = {"pruned": run.model.to(device)}, []
    try:
        networks = {"dense": run.dense().to(device)} | networks
    except UserError as error:
        warnings.append(f"the dense network is not measured: {error}")
    folder = Folder.fresh(Path(settings.output_root) / "evaluations", f"{plan.components['data']}_{plan.run.resolve().name}")
    with folder.log():
        folder.text("config.yaml", yaml.safe_dump(plan.config, sort_keys=False))
        measures, shape = qualities(task, networks, images, settings.ssim3d), task.shape(images)
        filters = {"dense": int(run.layout.sizes.sum()), "pruned": int(run.layout.sizes[run.keep].sum())}
        stages = {name: measured(network, measures[name], shape, filters[name]) for name, network in networks.items()}
        identity = task.baseline(images, images, settings.ssim3d)
        for name, k in task.examples(measures["pruned"]).items():
            write_crop(folder, name, images.pairs[k], restored(networks, images.pairs[k]))
        metrics = run_metrics(identity, stages, shape, run=str(plan.run.resolve()), warnings=warnings)
        write_metrics(folder, metrics, identity, stages)
        for warning in warnings:
            LOG.warning(warning)
        LOG.info("%s\n%s", folder.path, evaluate_table(task, identity, stages))
        write_manifest(folder, 0, device, {}, run.plan["sha256"])
    return folder.path


def refuse_other_data(plan: EvaluatePlan, run: Run) -> None:
    """Refuse images that are for something else than the network of a run, or of another kind than it takes, before any is read.

    Raises:
        UserError: another task, or another number of channels, side or number of classes.
    """
    name, task = plan.components["data"], task_of(run.network)
    if task_of(plan.data) is not task:
        raise UserError(
            f"data={name} has {task_of(plan.data).data_has}, and the network of {plan.run} {task.model_does}; "
            f"take data that has {task.data_has}"
        )
    for setting in FITTING:
        wanted, given = (getattr(part, setting, None) for part in (run.network, plan.data))
        if wanted != given and wanted is not None and given is not None:
            raise UserError(f"data.{setting}={given}: the network of {plan.run} takes {wanted}; set data.{setting}={wanted}")
