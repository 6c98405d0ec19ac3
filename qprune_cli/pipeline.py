"""The whole story of a command, stage by stage; no branch on which component it got."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import yaml

from qprune_cli.device import pick_device
from qprune_cli.evaluate.masked import metric, qualities, restored
from qprune_cli.evaluate.quality import examples, judge, outputs, refuse_unjudgeable
from qprune_cli.model.checkpoint import save_weights, weights_digest
from qprune_cli.plan import RunPlan, TrainPlan
from qprune_cli.problem.problem import PruningProblem, kept_count
from qprune_cli.record.crops import write_crop
from qprune_cli.record.provenance import mask_digest
from qprune_cli.record.run import write_manifest, write_mask, write_metrics, write_problem, write_scores, write_solution
from qprune_cli.record.table import run_table, train_table
from qprune_cli.record.tensorboard import tensorboard
from qprune_cli.record.warning import run_warnings
from qprune_cli.structure.cost import Cost, counted
from qprune_cli.structure.trace import trace
from qprune_cli.types import ImageSet, Stage

LOG = logging.getLogger("qprune_cli")
# Multiply-accumulates are counted for one image of this side, that of SIDD's validation blocks.
REFERENCE_SIDE = 256
STATE = "training.safetensors"  # of a training that is not finished


class Clock:
    """Adds up the seconds of each stage.

    Example:
        >>> clock = Clock()
        >>> with clock("load"):
        ...     pass
        >>> list(clock.seconds)
        ['load']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time the block as one stage."""
        start = perf_counter()
        yield
        self.seconds[stage] = round(perf_counter() - start, 3)


def run(plan: RunPlan) -> Path:
    """Prune a network and measure what it costs.

    Args:
        plan: components and settings.

    Returns:
        The run folder, complete.

    Raises:
        UserError: bad data, weights or target, before a folder is made; a loss that is not finite, after.
    """
    asked, clock = plan.settings, Clock()
    with clock("load"):
        splits = plan.data.load(asked.seed)
        refuse_unjudgeable(splits.test, plan.model.channels)
        device = pick_device(asked.device)
        dense = plan.model.load().to(device)
        layout = trace(dense)
        budget = kept_count(layout, asked.sparsity, asked.floor)
        cost = Cost(dense, layout, (plan.model.channels, REFERENCE_SIDE, REFERENCE_SIDE))
    folder = plan.folder()
    with folder.log():
        folder.text("config.yaml", yaml.safe_dump(plan.config, sort_keys=False))
        with clock("score"):
            scores = plan.scorer.score(dense, layout, splits, asked.seed)
            write_scores(folder, scores)
        problem = PruningProblem(layout, scores.linear, scores.pairs, budget, asked.floor)
        write_problem(folder, problem)
        with clock("solve"):
            solved = plan.solver.solve(problem, asked.seed)
            write_solution(folder, problem, solved)
        with clock("refine"):
            refined = plan.refine.refine(problem, solved, metric(dense, layout, splits.refinement), asked.seed)
            write_mask(folder, layout, refined)
        with clock("measure"):
            masks = {"dense": np.ones(layout.n, bool), "solved": solved.keep, "refined": refined.keep}
            measured = qualities(dense, layout, masks, splits.test, asked.ssim3d)
            stages = {name: Stage(measured[name], cost.footprint(keep)) for name, keep in masks.items()}
            identity = judge((pair.noisy for pair in splits.test.pairs), splits.test, asked.ssim3d)
            for name, k in examples(measured["refined"]).items():
                shown = {"dense": masks["dense"], "pruned": refined.keep}
                write_crop(folder, name, splits.test.pairs[k], restored(dense, layout, shown, splits.test.pairs[k]))
        warnings = run_warnings(problem, scores, refined)
        sparsity = {"asked": asked.sparsity, "got": 1 - refined.keep.mean(), "budget": asked.budget}
        write_metrics(folder, identity, stages, cost.shape, sparsity=sparsity, warnings=warnings)
        for warning in warnings:
            LOG.warning(warning)
        LOG.info("%s\n%s", folder.path, run_table(identity, stages["dense"], stages["refined"]))
        digests = {"mask": mask_digest(refined.keep), "weights": weights_digest(dense)}
        write_manifest(folder, asked.seed, device, clock.seconds, digests)
    return folder.path


def train(plan: TrainPlan) -> Path:
    """Train a dense network from fresh weights, or go on with a training that was stopped.

    Args:
        plan: components and settings.

    Returns:
        The training folder, complete; ``model.safetensors`` in it is a checkpoint for ``model.weights``.

    Raises:
        UserError: bad data, before a folder is made; a loss that is not finite, after.
    """
    asked, clock = plan.settings, Clock()
    with clock("load"):
        splits = plan.data.load(plan.train.seed)
        splits.train.check(plan.train.crop)
        refuse_unjudgeable(splits.test, plan.model.channels)
        torch.manual_seed(plan.train.seed)
        device = pick_device(asked.device)
        model = plan.model.build().to(device)
    folder = plan.folder()
    with folder.log(), tensorboard(folder.path / "tensorboard", asked.tensorboard) as track:
        folder.text("config.yaml", yaml.safe_dump(plan.config, sort_keys=False))
        with clock("train"):
            rows = []
            for row in plan.train.fit(model, splits, folder.path / STATE):
                LOG.info("step %d: loss %.5f, validation %.2f dB", row.step, row.loss, row.psnr)
                rows.append(row._asdict())
                folder.table("training.csv", rows)
                track(row.step, {"lr": row.lr, "loss": row.loss, "psnr": row.psnr})
        with clock("measure"):
            quality = judge(outputs(model, splits.test, label="measure"), splits.test, asked.ssim3d)
            stage = Stage(quality, counted(model, (plan.model.channels, REFERENCE_SIDE, REFERENCE_SIDE)))
            identity = judge((pair.noisy for pair in splits.test.pairs), splits.test, asked.ssim3d)
            for name, k in examples(quality).items():
                pair = splits.test.pairs[k]
                write_crop(folder, name, pair, {"dense": next(outputs(model, ImageSet((pair,))))})
        metrics = write_metrics(folder, identity, {"dense": stage}, (plan.model.channels, REFERENCE_SIDE, REFERENCE_SIDE))
        with folder.complete("model.safetensors") as path:
            save_weights(model, path, {"config": json.dumps(plan.config), "test": json.dumps(metrics["stages"]["dense"])})
        LOG.info("%s\n%s", folder.path, train_table(identity, stage))
        write_manifest(folder, plan.train.seed, device, clock.seconds, {"weights": weights_digest(model)})
        (folder.path / STATE).unlink()
    return folder.path
