"""From the command line to checked objects: the only file that knows Hydra."""

import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from hydra import compose, initialize_config_dir
from hydra import main as hydra_main
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import get_class
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from qprune_cli.catalog import config_dir
from qprune_cli.errors import UserError, nearest

Plan = TypeVar("Plan")


@dataclass(frozen=True)
class Composed:
    """One job: the resolved settings, the component chosen for each role, and the folder of the sweep it is part of.

    Attributes:
        settings: nested dict as in the yaml files, interpolations resolved.
        components: chosen yaml by role, such as ``{"solver": "greedy"}``.
        sweep: folder of the sweep; None for a single run.
    """

    settings: dict[str, Any]
    components: dict[str, str]
    sweep: Path | None = None

    def component(self, role: str) -> Any:
        """Build the component of a role from its section of the settings.

        Raises:
            UserError: an unknown or missing setting, or a value of the wrong type or out of range.
        """
        return build(self.settings[role], role)

    def record(self) -> dict[str, Any]:
        """Everything that config.yaml holds: the settings and the names of the components."""
        return self.settings | {"components": self.components}

    def top(self, cls: type[Any]) -> Any:
        """Build a dataclass from the settings at the top level."""
        return build({name: value for name, value in self.settings.items() if not isinstance(value, dict)}, "", cls)


def build(values: dict[str, Any], path: str, cls: type[Any] | None = None) -> Any:
    """Call the constructor that a section of the settings describes.

    Args:
        values: the section; ``_target_`` names a dataclass unless ``cls`` does.
        path: where the section stands, for messages; empty for the top level.
        cls: the dataclass.

    Raises:
        UserError: unknown target or key, missing value, wrong type.
    """
    dot = f"{path}." if path else ""
    values = dict(values)
    target = values.pop("_target_", None)
    if cls is None:
        try:
            cls = get_class(str(target))
        except Exception as error:  # Hydra raises many kinds; all mean that the name leads nowhere
            raise UserError(f"{dot}_target_={target}: no such class; give the import path of a dataclass") from error
    if not is_dataclass(cls):
        raise UserError(f"{dot}_target_={target}: not a dataclass; a component is one")
    known = [field.name for field in fields(cls)]
    for name, value in values.items():
        if name not in known:
            raise UserError(f"{dot}{name}: no such setting; {nearest(name, known)}")
        if value == "???":
            raise UserError(f"{dot}{name}: a value is required; add {dot}{name}=... to the command")
    try:
        return OmegaConf.to_object(OmegaConf.merge(_writable(OmegaConf.structured(cls)), values))
    except OmegaConfBaseException as error:
        raise UserError(f"{dot}{error.full_key or ''}: {str(error.msg or error).splitlines()[0]}") from error


def _writable(node: Any) -> Any:
    """Let values be merged into the schema of a frozen dataclass, and into the dataclasses inside."""
    OmegaConf.set_readonly(node, None)
    for key in node if isinstance(node, DictConfig) else ():
        child = node._get_node(key)
        if isinstance(child, DictConfig | ListConfig):
            _writable(child)
    return node


def launch(command: str, argv: list[str], prepare: Callable[[Composed], Plan], start: Callable[[Plan], object]) -> int:
    """Do what the arguments of a command ask for: one job, a sweep, or one of Hydra's own questions.

    Every job is composed and prepared before the first one starts.

    Args:
        command: name of the primary config, ``run`` or ``train``.
        argv: arguments behind the command, in Hydra's grammar.
        prepare: turns composed settings into a plan; raises UserError and writes nothing.
        start: carries out a plan.

    Returns:
        The exit code; for a sweep the highest of its jobs'.

    Raises:
        UserError: something in the arguments cannot be composed or prepared.
    """
    parser = get_args_parser()
    parser.error = _refuse_arguments  # type: ignore[method-assign]
    arguments = parser.parse_intermixed_args(argv)
    flags_first = [word for word in argv if word not in arguments.overrides] + arguments.overrides
    if arguments.help or arguments.hydra_help or arguments.shell_completion or arguments.info:
        return ask_hydra(command, flags_first)
    config = arguments.config_name or command
    jobs = compose_jobs(config, arguments.overrides, arguments.config_dir, arguments.multirun)
    if arguments.cfg:
        return ask_hydra(command, flags_first)
    plans = [prepare(job) for job in jobs]
    if not arguments.multirun:
        start(plans[0])
        return 0
    return _sweep(config, arguments.overrides, arguments.config_dir, lambda job: attempt(lambda: start(prepare(job))))


def _refuse_arguments(message: str) -> NoReturn:
    raise UserError(f"{message}; overrides are written key=value, `qprune --help` shows the flags")


def attempt(job: Callable[[], object]) -> int:
    """Run one job of a sweep; what goes wrong is told and becomes an exit code, so that the others still run."""
    try:
        job()
        return 0
    except UserError as error:
        print(f"qprune: {error}", file=sys.stderr)
        return 2
    except Exception:  # a bug in one job must not lose the others
        traceback.print_exc()
        return 1


def compose_jobs(config: str, overrides: list[str], extra: str | None = None, multirun: bool = False) -> list[Composed]:
    """Compose and check the settings of every job that the overrides describe.

    Args:
        config: name of the primary config.
        overrides: in Hydra's grammar.
        extra: another folder of configs, searched first.
        multirun: whether lists of values make a sweep.

    Raises:
        UserError: unknown keys or names, a value that cannot be parsed, an alias against an explicit scorer.
    """
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        try:
            parsed = OverridesParser.create().parse_overrides(overrides)
            batches = BasicSweeper.split_arguments(parsed, None)[0] if multirun else [overrides]
            return [_compose_one(config, list(one), extra) for one in batches]
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(" ".join(str(error).split("\n")[0].split())) from error


def _compose_one(config: str, overrides: list[str], extra: str | None) -> Composed:
    search = [f"hydra.searchpath=[file://{Path(extra).absolute()}]"] if extra else []
    parsed = OverridesParser.create().parse_overrides(overrides)
    _refuse_unknown(config, [o for o in parsed if not str(o.key_or_group).startswith("hydra")], search)
    settings = compose(config, overrides + search, return_hydra_config=True)
    composed = _resolved(settings, settings.hydra.runtime.choices)
    _refuse_contradiction(composed.components, extra)
    return composed


def _resolved(settings: DictConfig, choices: Mapping[str, Any], sweep: Path | None = None) -> Composed:
    """Take Hydra's own part away and fill in the interpolations."""
    own = OmegaConf.masked_copy(settings, [str(key) for key in settings if key != "hydra"])
    values = cast(dict[str, Any], OmegaConf.to_container(own, resolve=True))
    return Composed(values, {role: str(name) for role, name in choices.items() if role in values and name}, sweep)


def _refuse_unknown(config: str, overrides: list[Override], search: list[str]) -> None:
    """Name the nearest valid word for a group, a choice or a key that does not exist."""
    loader = GlobalHydra.instance().config_loader()
    groups = [o for o in overrides if o.key_or_group and loader.list_groups("") and o.key_or_group in loader.list_groups("")]
    for override in groups:
        options = loader.get_group_options(override.key_or_group)
        value = override.value()
        if not search and isinstance(value, str) and value not in options:
            raise UserError(f"{override.key_or_group}={value}: no such {override.key_or_group}; {nearest(value, options)}")
    base = compose(config, [str(o.input_line) for o in groups] + search)
    for override in overrides:
        if override in groups or override.is_add() or override.is_force_add():
            continue
        _find(base, override.key_or_group)


def _find(settings: DictConfig, key: str) -> None:
    """Walk to a dotted key; refuse one that is not there."""
    node: Any = settings
    walked: list[str] = []
    for word in key.split("."):
        if not isinstance(node, DictConfig) or word not in node.keys():  # noqa: SIM118  (a value that is still missing counts)
            known = [".".join([*walked, str(name)]) for name in node] if isinstance(node, DictConfig) else walked
            raise UserError(f"{key}: no such setting; {nearest(key, known)}")
        walked.append(word)
        node = node._get_node(word)


def _refuse_contradiction(components: dict[str, str], extra: str | None) -> None:
    """An alias of the solver names its scorer; another one is a contradiction."""
    folders = ([Path(extra)] if extra else []) + [config_dir()]
    paths = [folder / "solver" / f"{components.get('solver')}.yaml" for folder in folders]
    for path in [path for path in paths if path.is_file()][:1]:
        for entry in OmegaConf.to_container(OmegaConf.load(path)).get("defaults", []):  # type: ignore[union-attr]
            wanted = [str(name) for role, name in entry.items() if "/scorer" in str(role)] if isinstance(entry, dict) else []
            if wanted and components["scorer"] != wanted[0]:
                raise UserError(
                    f"scorer={components['scorer']}: solver={path.stem} is an alias that brings scorer={wanted[0]}; "
                    f"leave the scorer out or name the solver behind the alias (annealing, greedy)"
                )


def ask_hydra(command: str, argv: list[str]) -> int:
    """Let Hydra answer --help, --cfg, --info and shell completion; it reads sys.argv."""
    sys.argv = [sys.argv[0], *argv]
    hydra_main(config_path=str(config_dir()), config_name=command, version_base="1.3")(lambda settings: None)()
    return 0


def repeated(folder: Path, overrides: list[str]) -> Composed:
    """Take the job of a finished run, with other values where given.

    Args:
        folder: a run folder.
        overrides: ``key=value`` for settings that the run has; components cannot be exchanged.

    Raises:
        UserError: no run folder, an unknown key, or another component.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise UserError(f"--from {folder}: holds no config.yaml; give the folder of a finished run")
    settings = cast(DictConfig, OmegaConf.load(path))
    components = cast(dict[str, str], OmegaConf.to_container(settings.pop("components")))
    for override in OverridesParser.create().parse_overrides(overrides):
        if override.key_or_group in components:
            raise UserError(f"{override.input_line}: --from repeats the components of a run; compose a new one without --from")
        _find(settings, override.key_or_group)
        OmegaConf.update(settings, override.key_or_group, override.value())
    return Composed(cast(dict[str, Any], OmegaConf.to_container(settings)), components)


def _sweep(config: str, overrides: list[str], extra: str | None, job: Callable[[Composed], int]) -> int:
    """Run all jobs with Hydra's launcher and return the highest exit code."""

    def task(settings: DictConfig) -> int:
        hydra = HydraConfig.get()
        return job(_resolved(settings, hydra.runtime.choices, Path(hydra.sweep.dir)))

    search_path = create_config_search_path(str(config_dir()))
    if extra:
        search_path.prepend("command-line", f"file://{Path(extra).absolute()}")
    hydra = Hydra.create_main_hydra2("qprune", search_path)
    try:
        batches = hydra.multirun(config, task, [*overrides, f"hydra.mode={RunMode.MULTIRUN.name}"])
    finally:
        GlobalHydra.instance().clear()
    return max((int(done.return_value) for batch in batches for done in batch), default=0)
