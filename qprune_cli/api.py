"""The Python API: prune a network in memory, and load what a run has saved."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from qprune_cli.catalog import components
from qprune_cli.compose.build import build
from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.data.memory import split_pairs
from qprune_cli.errors import UserError
from qprune_cli.model.checkpoint import read_weights
from qprune_cli.pipeline import Clock
from qprune_cli.pipeline import prepare as prepare_job
from qprune_cli.pipeline import prune as prune_job
from qprune_cli.plan import RunPlan
from qprune_cli.record.folder import Folder
from qprune_cli.structure.execute import evaluating
from qprune_cli.structure.shrink import shrink
from qprune_cli.structure.trace import trace
from qprune_cli.types import Bools, Layout, Splits

PairLike = tuple[Any, Any]  # noisy and clean: (C, H, W), or (N, C, H, W) stacks, of tensors or arrays


@dataclass(frozen=True)
class Result:
    """A pruned network.

    Attributes:
        model: the smaller network, in evaluation mode.
        keep: (n,) True where a variable of the layout stays.
        layout: the filters of the dense network.
        metrics: as in metrics.json.
    """

    model: nn.Module
    keep: Bools
    layout: Layout
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Run(Result):
    """What a run has saved.

    Attributes:
        config: its settings.
    """

    config: dict[str, Any]


def prune(
    model: nn.Module,
    data: Splits | Iterable[PairLike],
    sparsity: float = 0.5,
    budget: str = "filters",
    scorer: str = "hybrid",
    solver: str = "annealing",
    loss: str = "psnr",
    granularity: str = "filter",
    keep_layers: tuple[str, ...] = (),
    wrap: tuple[str, ...] = (),
    **settings: Any,
) -> Result:
    """Make a trained network smaller.

    Args:
        model: takes noisy (N, C, H, W) images and gives clean ones; it is left as it is.
        data: pairs of a noisy and a clean image, each (C, H, W) with values in [0, 1], tensors or arrays; stacks (N, C, H, W), as a
            DataLoader gives them, will do. Half of the images are for scores, a quarter each for refinement and for test. Or
            splits that are disjoint already.
        sparsity: share of the filters to remove, in [0, 1).
        budget: what sparsity counts.
        scorer: what each filter is worth; ``qprune list scorer`` shows which there are.
        solver: which filters to keep; ``qprune list solver``. An alias such as "hybrid_qubo" brings its own scorer.
        loss: whose rise the scores predict: psnr, mse or l1.
        granularity: "filter", or "group" for no scatters (see ``trace``).
        keep_layers: layers whose filters all stay: qualified names, or patterns such as ``encoder.*``.
        wrap: black boxes that are kept whole (see ``trace``).
        settings: others as on the command line, such as ``seed=1``, ``floor=2``, ``refine="none"``.

    Returns:
        The smaller network, the mask, and what both cost on the test images.

    Raises:
        UserError: a setting or the data is wrong.
        StructureError: the network holds something that pruning has no rule for.

    Example:
        >>> from qprune_cli.data.sample import Sample
        >>> from qprune_cli.model.half_unet import HalfUNet
        >>> dense = HalfUNet(width=8, depth=3, weights="half_unet_small").load()
        >>> result = prune(dense, Sample(crops=4, crop_size=32).load(0), sparsity=0.5)
        >>> int(result.keep.sum()), len(result.keep)
        (32, 64)
    """
    if not isinstance(model, nn.Module):
        raise UserError(f"model: {type(model).__name__} is no network; give a torch.nn.Module and the images behind it")
    asked = {"sparsity": sparsity, "budget": budget, "loss": loss, "granularity": granularity} | settings
    plan = RunPlan.of(compose_jobs("run", _chosen(solver, scorer) + [f"{name}={value}" for name, value in asked.items()])[0])
    splits = data if isinstance(data, Splits) else split_pairs(data, plan.settings.seed)
    with evaluating(model), TemporaryDirectory() as place:
        job = prepare_job(plan.settings, model, splits, keep_layers, wrap)
        pruned = prune_job(plan, job, Folder(Path(place)), Clock())
    return Result(pruned.model.eval(), pruned.keep.copy(), job.layout, pruned.metrics)


def _chosen(solver: str, scorer: str) -> list[str]:
    """Overrides for solver and scorer; an alias brings its own scorer."""
    alias = components("solver").get(solver, "").startswith("alias")
    return [f"solver={solver}"] + ([] if alias else [f"scorer={scorer}"])


def load_run(folder: str | Path) -> Run:
    """Load the smaller network of a finished run, with all that belongs to it.

    The network is rebuilt from ``plan.json`` and filled from ``model.safetensors``; the dense weights are not needed, and nothing
    is a pickle. For a network of your own its factory must be importable; ``model.pt2`` in the same folder runs without it.

    Args:
        folder: of a ``qprune run``.

    Returns:
        The run; ``model`` is in evaluation mode, on the CPU.

    Raises:
        UserError: the folder is not that of a finished run, or a file in it is damaged.
    """
    place = Path(folder)
    if not (place / "manifest.json").is_file() or not (place / "plan.json").is_file():
        raise UserError(f"{place}: holds no manifest.json and plan.json; give the folder of a finished `qprune run`")
    plan, metrics = (_json(place / name) for name in ("plan.json", "metrics.json"))
    component = build(plan["model"], "model")
    dense = component.build().eval()
    layout = trace(dense, torch.empty(*plan["shape"]), plan["granularity"], component.keep_layers, component.wrap)
    with np.load(place / "mask.npz") as masks:
        keep = masks["keep"]
    small = shrink(dense, layout, _kept(layout, plan["kept"]))
    read_weights(small, place / "model.safetensors")
    return Run(small.eval(), keep, layout, metrics, yaml.safe_load((place / "config.yaml").read_text()))


def _kept(layout: Layout, kept: Mapping[str, list[int]]) -> dict[str, Bools]:
    masks = layout.masks(np.zeros(layout.n, bool))
    return {name: np.isin(np.arange(len(mask)), kept[name]) for name, mask in masks.items()}


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable ({error}); repeat the run with `qprune run --from`") from error
    return found
