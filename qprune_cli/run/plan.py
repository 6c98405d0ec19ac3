"""What a command is about to do: its components and settings, checked before anything is written."""

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from qprune_cli.compose.build import HOLDERS, Composed
from qprune_cli.device import pick_device
from qprune_cli.errors import UserError
from qprune_cli.evaluate.task import task_of
from qprune_cli.record.folder import Folder
from qprune_cli.roles import Baselines, Compensator, Data, FineTune, Model, Refiner, Scorer, Solver, Transfer
from qprune_cli.run.checks import check_fit, check_stopped
from qprune_cli.run.settings import EvaluateSettings, RunSettings, TrainSettings
from qprune_cli.train.adamw import AdamW
from qprune_cli.train.loss import LOSSES
from qprune_cli.train.schedule import check_precision
from qprune_cli.weights.checkpoint import find_weights

RUN_ROLES = ("data", "model", "scorer", "solver", "refine", "compensate", "finetune", "baselines", "transfer")
NAMED_ROLES = RUN_ROLES[:5]  # those that the name of a run folder says
TRAIN_ROLES = ("data", "model", "train")
EVALUATE_ROLES = ("data",)


def section(component: Any) -> dict[str, Any]:
    """A component as the section of the settings that builds it, the components that it holds included."""
    values = asdict(component)
    for field in fields(component):
        if HOLDERS.keys() & field.metadata.keys():
            parts = getattr(component, field.name)
            values[field.name] = [section(part) for part in parts] if isinstance(parts, tuple) else section(parts)
    return {"_target_": f"{type(component).__module__}.{type(component).__qualname__}", **values}


def recorded(plan: Any, roles: tuple[str, ...]) -> dict[str, Any]:
    """What a plan holds as plain values: ``qprune run --from`` builds the same plan from them."""
    sections = {role: section(getattr(plan, role)) for role in roles}
    plain: dict[str, Any] = json.loads(json.dumps(sections | asdict(plan.settings) | {"components": plan.components}))
    return plain


@dataclass(frozen=True)
class RunPlan:
    """One pruning run, before it begins.

    Attributes:
        settings: the top level.
        components: chosen yaml by role, for names and records.
        begun: folder of the run to go on with, or of a job of a sweep; None for a new one.
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
    begun: Folder | None = None

    @staticmethod
    def of(composed: Composed, stopped: Path | None = None) -> "RunPlan":
        """Build and check everything that a run needs; touches no data and writes nothing.

        Raises:
            UserError: a setting is unknown, missing, of the wrong type or out of range, or ``stopped`` holds a run that was finished or
                had other settings.
        """
        parts = composed.parts(RunSettings, RUN_ROLES)
        plan = RunPlan(**parts, components=composed.components, begun=Folder(stopped) if stopped else None)
        check_fit(plan.data, plan.model, plan.components)
        for loss in plan.finetune.losses:
            task_of(plan.data).refuse_loss("finetune.loss", loss, LOSSES)
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
        """The folder of the run, made now where none was given."""
        return self.begun or Folder.fresh(Path(self.settings.output_root) / "runs", self.title)


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
        modelless = replace(composed, settings={name: value for name, value in composed.settings.items() if name != "model"})
        return EvaluatePlan(**modelless.parts(EvaluateSettings, EVALUATE_ROLES), components=composed.components, run=run)

    @property
    def config(self) -> dict[str, Any]:
        """The complete settings, as config.yaml records them."""
        return recorded(self, EVALUATE_ROLES) | {"run": str(self.run.resolve())}


@dataclass(frozen=True)
class TrainPlan:
    """One training, before it begins.

    Attributes:
        settings: the top level.
        components: chosen yaml by role, for names and records.
        begun: folder of the training to go on with, or of a job of a sweep; None for a new one.
    """

    data: Data
    model: Model
    train: AdamW
    settings: TrainSettings
    components: dict[str, str]
    begun: Folder | None = None

    @staticmethod
    def of(composed: Composed, stopped: Path | None = None) -> "TrainPlan":
        """Build and check everything that a training needs.

        Raises:
            UserError: a setting is unknown, missing, of the wrong type or out of range, or ``stopped`` holds a training that
                was finished or had other settings.
        """
        parts = composed.parts(TrainSettings, TRAIN_ROLES)
        plan = TrainPlan(**parts, components=composed.components, begun=Folder(stopped) if stopped else None)
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
        """The folder of the training, made now where none was given."""
        return self.begun or Folder.fresh(Path(self.settings.output_root) / "train", self.title)
