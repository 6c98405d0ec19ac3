"""Loading what a run has saved, after a look at whether it is whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from qprune_cli.compose.build import build
from qprune_cli.errors import UserError
from qprune_cli.graph.trace import trace
from qprune_cli.record.folder import file_digest
from qprune_cli.record.read import Unreadable, read_arrays, read_json, read_settings
from qprune_cli.surgery.shrink import shrink
from qprune_cli.types import Bools, Layout
from qprune_cli.weights.checkpoint import read_weights, weights_digest
from qprune_cli.weights.fingerprint import fingerprints_match, output_fingerprint

NEEDED = ("config.yaml", "plan.json", "mask.npz", "metrics.json", "model.safetensors")


@dataclass(frozen=True)
class Run:
    """A finished run: its smaller network, and the files that say how it was made.

    Attributes:
        folder: where it lies.
        model: the smaller network, in evaluation mode, on the CPU.
        keep: (n,) True where a variable of the layout stays.
        layout: the filters of the dense network.
        metrics: as in metrics.json.
        config: its settings.
        plan: as in plan.json.
    """

    folder: Path
    model: nn.Module
    keep: Bools
    layout: Layout
    metrics: dict[str, Any]
    config: dict[str, Any]
    plan: dict[str, Any]

    @property
    def channels(self) -> int:
        """1 where the network takes grey images, 3 where it takes colour."""
        return int(self.plan["shape"][1])

    @property
    def network(self) -> Any:
        """The component that builds the dense network."""
        return build(self.plan["model"], "model")

    def dense(self) -> nn.Module:
        """Load the dense network that the run began with.

        Raises:
            UserError: its weights are no longer where they were, or are others now.
        """
        dense: nn.Module = self.network.load()
        if weights_digest(dense) != self.plan["sha256"]["dense"]:
            raise UserError(f"{self.folder}: the dense weights have changed since this run; bring back those that it was made from")
        return dense


def load_run(folder: str | Path) -> Run:
    """Load the smaller network of a finished run, with all that belongs to it.

    The network is rebuilt from ``plan.json`` and filled from ``model.safetensors``; the dense weights are not needed, and nothing
    is a pickle. For a network of your own its factory must be importable; ``model.pt2`` in the same folder runs without it.

    Args:
        folder: of a ``qprune run``.

    Returns:
        The run.

    Raises:
        UserError: the folder is not that of a finished run, or a file in it is missing, damaged or no longer as the run left it.
    """
    path = Path(folder)
    check_whole(path)
    plan, metrics = (_json(path, name) for name in ("plan.json", "metrics.json"))
    component = build(plan["model"], "model")
    dense = component.build().eval()
    layout = trace(dense, torch.empty(*plan["shape"]), plan["granularity"], component.keep_layers, component.wrap)
    keep = read_arrays(path, "mask.npz")["keep"]
    small = shrink(dense, layout, _kept(layout, plan["kept"]))
    read_weights(small, path / "model.safetensors")
    if not fingerprints_match(output_fingerprint(small, plan["shape"]), plan["answer"]):
        made = plan["versions"]["qprune"]
        raise UserError(
            f"{path}: the network that is rebuilt from it does not compute what it did (it was made by qprune {made}); model.pt2 in it "
            "still does, or repeat the run with `qprune run --from`"
        )
    small = small.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]  # faster on CPUs
    return Run(path, small, keep, layout, metrics, read_settings(path), plan)


def check_whole(folder: Path, names: Sequence[str] = NEEDED) -> None:
    """Compare files of a run with what its manifest says of them.

    Args:
        folder: of the run.
        names: files that are about to be used.

    Raises:
        UserError: the run is not finished, or a file is missing or altered.
    """
    if not (folder / "manifest.json").is_file() or not (folder / "plan.json").is_file():
        raise UserError(f"{folder}: holds no manifest.json and plan.json; give the folder of a finished `qprune run`")
    digests = _json(folder, "manifest.json").get("files")
    if not isinstance(digests, dict):
        raise UserError(f"{folder / 'manifest.json'}: damaged, or of an older qprune: it lists no files; repeat the run")
    for name in names:
        if not (folder / name).is_file() or name not in digests:
            raise UserError(f"{folder / name}: missing; take the folder as the run left it, or repeat the run with `qprune run --from`")
        if file_digest(folder / name) != digests[name]:
            raise UserError(
                f"{folder / name}: altered or damaged since the run wrote it (its SHA-256 is another); bring the file back, or repeat "
                "the run with `qprune run --from`"
            )


def _kept(layout: Layout, kept: Mapping[str, list[int]]) -> dict[str, Bools]:
    masks = layout.masks(np.zeros(layout.n, bool))
    return {name: np.isin(np.arange(len(mask)), kept[name]) for name, mask in masks.items()}


def _json(folder: Path, name: str) -> dict[str, Any]:
    try:
        return read_json(folder, name)
    except Unreadable as error:
        why = f"not readable ({error.__cause__})" if error.__cause__ else "damaged, holds no entries"
        raise UserError(f"{folder / name}: {why}; repeat the run with `qprune run --from`") from error
