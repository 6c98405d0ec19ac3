"""The Python API: prune a network in memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from qprune_cli.clock import Clock
from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.errors import UserError
from qprune_cli.graph.execute import evaluating
from qprune_cli.images.memory import split_pairs
from qprune_cli.places import components
from qprune_cli.run.job import prepare
from qprune_cli.run.observer import NoFiles
from qprune_cli.run.plan import RunPlan
from qprune_cli.run.prune import prune as prune_job
from qprune_cli.types import Bools, Layout, Splits

PairLike = tuple[Any, Any]  # noisy and clean: (C, H, W), or (N, C, H, W) stacks, of tensors or arrays; or images and labels


@dataclass(frozen=True)
class Result:
    """A pruned network, its mask and its metrics.

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


def prune(
    model: nn.Module,
    data: Splits | Iterable[PairLike],
    sparsity: float = 0.5,
    budget: str = "filters",
    scorer: str = "gram",
    solver: str = "swap",
    loss: str = "psnr",
    granularity: str = "filter",
    keep_layers: tuple[str, ...] = (),
    wrap: tuple[str, ...] = (),
    **settings: Any,
) -> Result:
    """Make a trained network smaller; its weights are re-fitted in closed form where that helps (``compensate="none"``: not).

    Args:
        model: takes noisy (N, C, H, W) images and gives clean ones, or gives (N, classes) logits; it is left as it is.
        data: pairs of a noisy and a clean image, each (C, H, W) with values in [0, 1], tensors or arrays; stacks (N, C, H, W), as a
            DataLoader gives them, will do. For a classifier, images and labels, with ``loss="cross_entropy"``. Half of the images are
            for scores, a quarter each for refinement and for test. Or splits that are disjoint already.
        sparsity: share of the budget to remove, in [0, 1).
        budget: filters, params, macs or latency.
        scorer: what each filter is worth; ``qprune list scorer`` shows which there are.
        solver: which filters to keep; ``qprune list solver``. An alias such as "hybrid_qubo" brings its own scorer.
        loss: whose rise the scores predict: psnr, mse, l1, or cross_entropy for classifiers.
        granularity: "filter", or "group" for no scatters (see ``trace``).
        keep_layers: layers whose filters all stay: qualified names, or patterns such as ``encoder.*``.
        wrap: black boxes that are kept whole (see ``trace``).
        settings: others as on the command line, such as ``seed=1``, ``floor=2``, ``compensate="none"``, ``round_to=8``,
            ``finetune="distill"``.

    Returns:
        The smaller network, the mask, and what both cost on the test images.

    Raises:
        UserError: a setting or the data is wrong.
        StructureError: the network holds something that pruning has no rule for.

    Example:
        >>> from qprune_cli.data.sample import Sample
        >>> from qprune_cli.model.half_unet import HalfUNet
        >>> dense = HalfUNet(width=8, depth=3, weights="half_unet_small").load()
        >>> result = prune(dense, Sample(crops=4, crop_size=32).load(0), sparsity=0.5, latency=False, fidelity=0)
        >>> int(result.keep.sum()), len(result.keep)
        (32, 64)
    """
    if not isinstance(model, nn.Module):
        raise UserError(f"model: {type(model).__name__} is no network; give a torch.nn.Module and the images behind it")
    if "transfer" in settings:
        raise UserError(
            f"transfer={settings['transfer']}: networks in memory are pruned alone; transfer with `qprune run transfer=retrain`"
        )
    all_settings: dict[str, Any] = {
        "sparsity": sparsity,
        "budget": budget,
        "loss": loss,
        "granularity": granularity,
        "cache": False,
    } | settings
    plain = {name: value for name, value in all_settings.items() if not isinstance(value, Mapping | list | tuple)}
    nested = {
        name: dict(v) if isinstance(v, Mapping) else list(v) for name, v in all_settings.items() if isinstance(v, Mapping | list | tuple)
    }
    composed = compose_jobs("run", _overrides(solver, scorer) + [f"{name}={value}" for name, value in plain.items()]).jobs[0]
    plan = RunPlan.of(replace(composed, settings=composed.settings | nested))
    splits = data if isinstance(data, Splits) else split_pairs(data, plan.settings.seed)
    with evaluating(model), TemporaryDirectory() as folder:
        job = prepare(plan.settings, model, splits, keep_layers, wrap)
        plan.finetune.ready(splits)
        pruned = prune_job(plan, job, NoFiles(Path(folder)), Clock())
    return Result(pruned.model.eval(), pruned.keep.copy(), job.layout, pruned.metrics)


def _overrides(solver: str, scorer: str) -> list[str]:
    """The solver and the scorer as on the command line; an alias of a solver brings its own scorer."""
    alias = components("solver").get(solver, "").startswith("alias")
    return [f"solver={solver}"] + ([] if alias else [f"scorer={scorer}"])
