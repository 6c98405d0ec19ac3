"""The story of a training: from fresh weights to a checkpoint."""

import json
import logging
from pathlib import Path

import torch
import yaml

from qprune_cli.clock import Clock
from qprune_cli.cost.measure import measured
from qprune_cli.device import pick_device
from qprune_cli.evaluate.masked import restored
from qprune_cli.evaluate.task import task_of
from qprune_cli.graph.execute import evaluating
from qprune_cli.record.crops import write_crop
from qprune_cli.record.manifest import write_manifest
from qprune_cli.record.metrics import run_metrics, write_metrics
from qprune_cli.record.table import train_table
from qprune_cli.record.tensorboard import tensorboard
from qprune_cli.run.plan import TrainPlan
from qprune_cli.weights.checkpoint import save_weights, weights_digest

LOG = logging.getLogger("qprune_cli")
STATE = "training.safetensors"  # of a training that is not finished


def train(plan: TrainPlan) -> Path:
    """Train a dense network from fresh weights, or go on with a training that was stopped.

    Args:
        plan: components and settings.

    Returns:
        The training folder, complete; ``model.safetensors`` in it is a checkpoint for ``model.weights``.

    Raises:
        UserError: bad data, before a folder is made; a loss that is not finite, after.
    """
    settings, clock = plan.settings, Clock()
    with clock("load"):
        splits = plan.data.load(plan.train.seed)
        task = task_of(splits)
        splits.train.check(plan.train.crop)
        task.refuse_unjudgeable(splits.test, plan.model.channels)
        torch.manual_seed(plan.train.seed)
        device = pick_device(settings.device)
        model = plan.model.build().to(device)
        with evaluating(model):
            task.refuse_unfit(model, (splits.calibration, splits.refinement, splits.test))
    folder = plan.folder()
    with folder.log(), tensorboard(folder.path / "tensorboard", settings.tensorboard) as track:
        folder.text("config.yaml", yaml.safe_dump(plan.config, sort_keys=False))
        with clock("train"):
            rows = []
            for row in plan.train.fit(model, splits, folder.path / STATE):
                LOG.info(row.text(task.primary))
                values = row.entries(task.primary)
                rows.append({"step": row.step} | values)
                folder.table("training.csv", rows)
                track(row.step, values)
        with clock("measure"):
            quality, shape = task.quality(model, splits.test, settings.ssim3d), task.shape(splits.test)
            stage = measured(model, quality, shape)
            identity = task.baseline(splits.calibration, splits.test, settings.ssim3d)
            for name, k in task.examples(quality).items():
                write_crop(folder, name, splits.test.pairs[k], restored({"dense": model}, splits.test.pairs[k]))
        metrics = run_metrics(identity, {"dense": stage}, shape)
        write_metrics(folder, metrics, identity, {"dense": stage})
        with folder.complete("model.safetensors") as path:
            save_weights(model, path, {"config": json.dumps(plan.config), "test": json.dumps(metrics["stages"]["dense"])})
        LOG.info("%s\n%s", folder.path, train_table(task, identity, stage))
        write_manifest(folder, plan.train.seed, device, clock.seconds, {"weights": weights_digest(model)})
        (folder.path / STATE).unlink()
    return folder.path
