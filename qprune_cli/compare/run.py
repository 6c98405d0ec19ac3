"""One run folder -> what of it is compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

from qprune_cli.compare.find import ResultFolder
from qprune_cli.compare.settings import flat
from qprune_cli.record.read import Unreadable, read_images, read_json
from qprune_cli.types import Floats, final_stage

SCHEMA = 1  # of metrics.json
SIZES = ("filters", "params", "macs", "latency_ms")
AT_LAST = "final"  # another name of a run's last stage
MADE_BY = ("weights", "qprune", "commit", "device", "torch")


@dataclass(frozen=True, eq=False, slots=True)
class Run:
    """What a finished run has measured, under which settings.

    Attributes:
        folder: where it lies.
        settings: all of them by their names on the command line.
        roles: those of the settings that are components.
        images: N names of the test images.
        qualities: (N,) values, by stage and measure; stage ``identity`` is what needs no network, ``final`` the last one once more.
        sizes: filters, params, macs and latency_ms of each stage as a share of the dense network's; nan where not measured.
        obtained: share of the budgeted quantity that was removed.
        fidelity: rank correlation between predicted and true change of the loss at the mask; nan where not measured.
        gap: how far the damage can be from the least; nan where no bound is known.
        seconds: of all stages.
        warnings: their number.
        made: by which weights, version, commit, device and torch.
        finished: when, in seconds.
        alone: whether no other job of its sweep ran beside it.
    """

    folder: Path
    settings: Mapping[str, str]
    roles: tuple[str, ...]
    images: tuple[str, ...]
    qualities: Mapping[str, Mapping[str, Floats]]
    sizes: Mapping[str, Mapping[str, float]]
    obtained: float
    fidelity: float
    gap: float
    seconds: float
    warnings: int
    made: Mapping[str, str]
    finished: float
    alone: bool = True

    @property
    def seed(self) -> str:
        """The seed of calibration and solver; empty where the run has none."""
        return self.settings.get("seed", "")

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that a network was measured at, and ``final``."""
        return tuple(self.sizes)

    @property
    def last(self) -> str:
        """Name of the stage that ``final`` stands for."""
        return final_stage(self.sizes)

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures that the images were judged by; the first is what runs are compared by."""
        return tuple(self.qualities["identity"])


def read_run(result: ResultFolder) -> Run:
    """Read what of a finished run is compared: qualities, sizes, and how it was made.

    Raises:
        Unreadable: a file is missing, damaged, altered, or of another schema.
    """
    if result.config is None:
        raise Unreadable("config.yaml", "is missing or damaged")
    folder = result.path
    manifest = read_json(folder, "manifest.json")
    digests = manifest.get("files", {})
    try:
        metrics = read_json(folder, "metrics.json", digests)
        if metrics.get("schema") != SCHEMA:
            raise Unreadable("metrics.json", f"has schema {metrics.get('schema')}, this qprune reads {SCHEMA}")
        images, qualities = read_images(folder, digests)
        solution = read_json(folder, "solution.json", digests)
        at_mask = metrics.get("fidelity", {}).get("at_mask") or {}
        versions = manifest.get("versions", {})
        made = (manifest["sha256"].get("weights"), versions.get("qprune"), manifest.get("git_commit"), manifest.get("device"))
        stages = metrics["stages"]
        if missing := set(stages) - set(qualities):
            raise Unreadable("images.csv", f"is damaged: it lacks the stage {min(missing)}")
        sizes = {stage: {size: _share(entry, stages["dense"], size) for size in SIZES} for stage, entry in stages.items()}
        last = final_stage(stages)
        return Run(
            folder,
            flat(result.config),
            tuple(map(str, result.config["components"])),
            images,
            qualities | {AT_LAST: qualities[last]},
            sizes | {AT_LAST: sizes[last]},
            float(metrics["sparsity"]["got"]),
            _number(at_mask.get("correlation")),
            _number(solution.get("gap")),
            float(sum(manifest["seconds"].values())),
            len(metrics.get("warnings", ())),
            {what: str(value) for what, value in zip(MADE_BY, (*made, versions.get("torch")), strict=True)},
            (folder / "manifest.json").stat().st_mtime,
            _alone(folder.parent),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unreadable("metrics.json, manifest.json or solution.json", f"is damaged ({type(error).__name__}: {error})") from error


def _alone(sweep: Path) -> bool:
    """Whether jobs of a sweep ran one after the other; single runs do."""
    try:
        return bool(read_json(sweep, "sweep.json")["launcher"]["at_once"] == 1)
    except (Unreadable, KeyError, TypeError):
        return True


def _share(stage: Mapping[str, Any], dense: Mapping[str, Any], size: str) -> float:
    return nan if stage.get(size) is None or not dense.get(size) else float(stage[size] / dense[size])


def _number(value: Any) -> float:
    return nan if value is None else float(value)
