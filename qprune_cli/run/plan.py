"""What a command is about to do: its components and settings, checked before anything is written."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from qprune_cli.calibration.loss import check_loss
from qprune_cli.compose.build import HOLDERS, Composed, buildable
from qprune_cli.device import pick_device
from qprune_cli.errors import UserError, listed, nearest
from qprune_cli.evaluate.fidelity import FEWEST_SWAPS
from qprune_cli.evaluate.task import task_of
from qprune_cli.graph.trace import check_granularity
from qprune_cli.problem.budget import UNITS
from qprune_cli.record.folder import Folder, refuse_unwritable
from qprune_cli.record.tensorboard import check_tensorboard
from qprune_cli.roles import Baselines, Compensator, Data, FineTune, Model, Refiner, Scorer, Solver, Transfer
from qprune_cli.train.adamw import AdamW
from qprune_cli.train.loss import LOSSES
from qprune_cli.train.schedule import check_precision
from qprune_cli.types import FITTING
from qprune_cli.weights.checkpoint import find_weights

SCOPES = ("global", "layer")
RUN_ROLES = ("data", "model", "scorer", "solver", "refine", "compensate", "finetune", "baselines", "transfer")
NAMED_ROLES = RUN_ROLES[:5]  # those that the name of a run folder says
TRAIN_ROLES = ("data", "model", "train")
EVALUATE_ROLES = ("data",)
PLACES = ("root", "clean_root", "test_root", "validation", "cache")  # where images lie may change while a training is stopped


@dataclass(frozen=True)
class RunSettings:
    """The settings at the top level of ``qprune run``; configs/run.yaml says what each means.

    Raises:
        UserError: a value is out of range.
    """

    sparsity: float
    budget: str
    scope: str
    floor: int
    round_to: int
    limits: dict[str, list[int]]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    rounds: int
    certify: bool
    fidelity: int
    granularity: str
    loss: str
    seed: int
    latency: bool
    cache: bool
    ssim3d: bool
    device: str
    output_root: str

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise UserError(f"sparsity={self.sparsity}: give the share of filters to remove, in [0, 1). For 50 % write sparsity=0.5")
        for name, known in (("budget", UNITS), ("scope", SCOPES)):
            if getattr(self, name) not in known:
                raise UserError(f"{name}={getattr(self, name)}: no such {name}; {nearest(getattr(self, name), known)}")
        for name, least in (("floor", 0), ("seed", 0), ("fidelity", 0), ("rounds", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name}={getattr(self, name)}: give a whole number, at least {least}")
        if 0 < self.fidelity < FEWEST_SWAPS:
            raise UserError(f"fidelity={self.fidelity}: so few swaps say nothing; give at least {FEWEST_SWAPS}, or 0 for none")
        for pattern, span in self.limits.items():
            if len(span) != 2 or not 0 <= span[0] <= span[1] or span[1] < 1:
                raise UserError(f"limits: {pattern}: {span}: give the fewest filters and the most, such as [8, 48]")
        if self.round_to < 1:
            raise UserError(f"round_to={self.round_to}: give a whole number, at least 1; 8 or 16 make widths that CPUs compute fast")
        check_loss(self.loss)
        check_granularity(self.granularity)
        check_place(self.device, self.output_root)


@dataclass(frozen=True)
class TrainSettings:
    """The settings at the top level of ``qprune train``; configs/train.yaml says what each means.

    Raises:
        UserError: a value is out of range.
    """

    tensorboard: bool
    ssim3d: bool
    device: str
    output_root: str

    def __post_init__(self) -> None:
        check_place(self.device, self.output_root)
        if self.tensorboard:
            check_tensorboard()


def check_place(device: str, output_root: str) -> None:
    """Refuse a device that is not there and a folder that cannot be written."""
    pick_device(device)
    for kind in ("runs", "sweeps", "tune", "train", "evaluations"):
        refuse_unwritable(Path(output_root) / kind)


def check_fit(data: Data, model: Model, names: Mapping[str, str]) -> None:
    """Refuse a network that is for something else than the images, or does not take them, before any is read.

    Args:
        data: where images come from.
        model: the network.
        names: what both are called, by role.

    Raises:
        UserError: another task, or another number of channels, side or number of classes.
    """
    task = task_of(data)
    if task_of(model) is not task:
        others = [name for name, other in buildable("model").items() if task_of(other) is task]
        instead = f"take model={listed(others)}" if others else f"take one that {task.does}"
        raise UserError(f"model={names['model']} {task_of(model).does}, and data={names['data']} has {task.has}; {instead}")
    for name in FITTING:
        wanted, given = (getattr(part, name, None) for part in (data, model))
        if wanted != given and wanted is not None and given is not None:
            raise UserError(f"model.{name}={given}: the images have {wanted}; set model.{name}={wanted}")


def check_stopped(kind: str, folder: Path, config: dict[str, Any], instead: str) -> None:
    """Refuse to go on with what is finished, or with other settings than it began with.

    Raises:
        UserError: one of both.
    """
    if (folder / "manifest.json").is_file():
        raise UserError(f"--resume {folder}: this {kind} is finished; {instead}")
    if _unplaced(config) != _unplaced(yaml.safe_load((folder / "config.yaml").read_text())):
        places = ", ".join(f"data.{place}" for place in PLACES)
        raise UserError(f"--resume {folder}: a {kind} goes on as it began; only {places} may change, or begin a new one")


def _unplaced(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without the places of its images."""
    return config | {"data": {name: value for name, value in config["data"].items() if name not in PLACES}}


def section(component: Any) -> dict[str, Any]:
    """A component as the section of the settings that builds it, the components that it holds included."""
    values = asdict(component)
    for field in fields(component):
        if HOLDERS.keys() & field.metadata.keys():
            held = getattr(component, field.name)
            values[field.name] = [section(part) for part in held] if isinstance(held, tuple) else section(held)
    return {"_target_": f"{type(component).__module__}.{type(component).__qualname__}", **values}


def recorded(plan: Any, roles: tuple[str, ...]) -> dict[str, Any]:
    """What a plan holds as plain values: ``qprune run --from`` builds the same plan from them."""
    sections = {role: section(getattr(plan, role)) for role in roles}
    plain: dict[str, Any] = json.loads(json.dumps(sections | asdict(plan.settings) | {"components": plan.components}))
    return plain


@dataclass(frozen=True)
class EvaluateSettings:
    """The settings at the top level of ``qprune evaluate``.

    Raises:
        UserError: a value is out of range.
    """

    ssim3d: bool
    device: str
    output_root: str

    def __post_init__(self) -> None:
        check_place(self.device, self.output_root)


@dataclass(frozen=True)
class RunPlan:
    """One pipeline run.

    Attributes:
        settings: the top level.
        components: chosen yaml by role, for names and records.
        place: folder of the run to go on with, or of a job of a sweep; None for a new one.
    """

    data: Data
    model: Model
    scorer: Scorer
    solver: Solver
    refine: Refiner
    compensate: Compensator
    finetune: FineTune
    baselines: Baselines
    transfer: Transfer
    settings: RunSettings
    components: dict[str, str]
    place: Folder | None = None

    @staticmethod
    def of(composed: Composed, stopped: Path | None = None) -> "RunPlan":
        """Build and check everything that a run needs; touches no data and writes nothing.

        Raises:
            UserError: a setting is unknown, missing, of the wrong type or out of range, or ``stopped`` holds a run that was finished or
                had other settings.
        """
        parts = composed.parts(RunSettings, RUN_ROLES)
        plan = RunPlan(**parts, components=composed.components, place=Folder(stopped) if stopped else None)
        check_fit(plan.data, plan.model, plan.components)
        if hasattr(plan.finetune, "loss"):
            task_of(plan.data).refuse_loss("finetune.loss", plan.finetune.loss, LOSSES)
        plan.finetune.check(pick_device(plan.settings.device))
        plan.transfer.check(plan.data)
        if stopped:
            check_stopped("run", stopped, plan.config, "repeat it with --from")
        return plan

    @property
    def config(self) -> dict[str, Any]:
        """The complete settings, as config.yaml records them."""
        return recorded(self, RUN_ROLES)

    def check_weights(self) -> None:
        """Refuse weights that are not there, before anything starts.

        Raises:
            UserError: it says what to name.
        """
        if hasattr(self.model, "weights"):
            find_weights(self.model.weights)

    @property
    def title(self) -> str:
        """What a folder of it is called, in short."""
        roles = "_".join(self.components[role] for role in NAMED_ROLES)
        return f"{roles}_s{self.settings.sparsity:g}_seed{self.settings.seed}"

    def folder(self) -> Folder:
        """The run folder."""
        return self.place or Folder.fresh(Path(self.settings.output_root) / "runs", self.title)


@dataclass(frozen=True)
class EvaluatePlan:
    """One measurement of a finished run.

    Attributes:
        settings: the top level.
        components: chosen yaml by role.
        run: folder of the run.
    """

    data: Data
    settings: EvaluateSettings
    components: dict[str, str]
    run: Path

    @staticmethod
    def of(composed: Composed, run: Path) -> "EvaluatePlan":
        """Build and check everything that a measurement needs.

        Raises:
            UserError: a setting is unknown, missing, of the wrong type or out of range.
        """
        own = replace(composed, settings={name: value for name, value in composed.settings.items() if name != "model"})
        return EvaluatePlan(**own.parts(EvaluateSettings, EVALUATE_ROLES), components=composed.components, run=run)

    @property
    def config(self) -> dict[str, Any]:
        """The complete settings, as config.yaml records them."""
        return recorded(self, EVALUATE_ROLES) | {"run": str(self.run.resolve())}


@dataclass(frozen=True)
class TrainPlan:
    """One training.

    Attributes:
        settings: the top level.
        components: chosen yaml by role, for names and records.
        place: folder of the training to go on with, or of a job of a sweep; None for a new one.
    """

    data: Data
    model: Model
    train: AdamW
    settings: TrainSettings
    components: dict[str, str]
    place: Folder | None = None

    @staticmethod
    def of(composed: Composed, stopped: Path | None = None) -> "TrainPlan":
        """Build and check everything that a training needs.

        Raises:
            UserError: a setting is unknown, missing, of the wrong type or out of range, or ``stopped`` holds a training that
                was finished or had other settings.
        """
        parts = composed.parts(TrainSettings, TRAIN_ROLES)
        plan = TrainPlan(**parts, components=composed.components, place=Folder(stopped) if stopped else None)
        check_fit(plan.data, plan.model, plan.components)
        task_of(plan.data).refuse_loss("train.loss", plan.train.loss, LOSSES)
        check_precision("train", plan.train.precision, pick_device(plan.settings.device))
        if stopped:
            check_stopped("training", stopped, plan.config, "train anew, with more train.steps where it was too short")
        for name in ("weights", "checkpoint"):
            if composed.settings["model"].get(name) is not None:
                raise UserError(f"model.{name}: training starts from fresh weights; leave it out")
        return plan

    @property
    def config(self) -> dict[str, Any]:
        """The complete settings, as config.yaml records them."""
        return recorded(self, TRAIN_ROLES)

    @property
    def title(self) -> str:
        """What a folder of it is called, in short."""
        return f"{self.components['data']}_{self.components['model']}_seed{self.train.seed}"

    def folder(self) -> Folder:
        """The training folder."""
        return self.place or Folder.fresh(Path(self.settings.output_root) / "train", self.title)
