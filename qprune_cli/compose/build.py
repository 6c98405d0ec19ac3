"""From a section of the settings to the object that it describes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any, cast

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from qprune_cli.compose.hydra import get_class
from qprune_cli.errors import UserError, nearest
from qprune_cli.places import components, config_dir


@dataclass(frozen=True)
class Composed:
    """One job: the resolved settings, the component chosen for each role, and the words that ask for it.

    Attributes:
        settings: nested dict as in the yaml files, interpolations resolved.
        components: chosen yaml by role, such as ``{"solver": "greedy"}``.
        overrides: in Hydra's grammar, without those of Hydra's own settings.
    """

    settings: dict[str, Any]
    components: dict[str, str]
    overrides: tuple[str, ...] = ()

    def parts(self, settings: type[Any], roles: tuple[str, ...]) -> dict[str, Any]:
        """Build the components of a plan and its settings.

        Args:
            settings: dataclass of the settings at the top level.
            roles: the sections that must be there, and no others.

        Returns:
            The component of each role by its name, and under ``settings`` the dataclass.

        Raises:
            UserError: an unknown or missing section or setting, or a value of the wrong type or out of range.
        """
        names = {field.name for field in fields(settings)}
        top = {name: value for name, value in self.settings.items() if name in names or (not isinstance(value, dict) and name not in roles)}
        for name in self.settings.keys() - top.keys() - set(roles):
            raise UserError(f"{name}: no such section; {nearest(name, roles)}")
        return {role: self.component(role) for role in roles} | {"settings": build(top, "", settings)}

    def component(self, role: str) -> Any:
        """Build the component of a role from its section of the settings.

        Raises:
            UserError: no such section, or a setting is unknown, missing, of the wrong type or out of range.
        """
        section = self.settings.get(role)
        if not isinstance(section, dict):
            raise UserError(f"{role}: one component is required; `qprune list {role}` shows which there are")
        return build(section, role, root=self.settings)


def build(values: dict[str, Any], path: str, cls: type[Any] | None = None, root: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """Call the constructor that a section of the settings describes.

    Args:
        values: the section; ``_target_`` names a dataclass unless ``cls`` does.
        path: where the section stands, for messages; empty for the top level.
        cls: the dataclass.
        root: all settings, which those of components in a list may refer to.

    Returns:
        An instance of the dataclass, its own range checks passed.

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
    names = [field.name for field in fields(cls)]
    for name, value in values.items():
        if name not in names:
            raise UserError(f"{dot}{name}: no such setting; {nearest(name, names)}")
        if value == "???":
            raise UserError(f"{dot}{name}: a value is required; add {dot}{name}=... to the command")
    parts = {
        field.name: HOLDERS[kind](values.pop(field.name), field.metadata[kind], f"{dot}{field.name}", root)
        for field in fields(cls)
        for kind in HOLDERS.keys() & field.metadata.keys()
        if field.name in values
    }
    try:
        built = OmegaConf.to_object(OmegaConf.merge(_writable(OmegaConf.structured(cls)), values))
        return replace(cast(Any, built), **parts) if parts else built
    except OmegaConfBaseException as error:
        raise UserError(f"{dot}{error.full_key or ''}: {str(error.msg or error).splitlines()[0]}") from error


def _single(value: Any, group: str, path: str, root: Mapping[str, Any]) -> Any:
    """Build the component that a section inside another describes."""
    if not isinstance(value, dict) or "_target_" not in value:
        raise UserError(f"{path}={value}: choose a component with {group}@{path}=NAME; `qprune list {group}` shows which there are")
    return build(value, path, root=root)


def _listed(items: Any, group: str, path: str, root: Mapping[str, Any]) -> tuple[Any, ...]:
    """Build the components that a list names: ``[name, {name: {setting: value}}, {_target_: ...}]``."""
    if not isinstance(items, list) or not items:
        raise UserError(f"{path}={items}: give a list of names; `qprune list {group}` shows which there are")
    return tuple(_item(item, group, path, root) for item in items)


def _item(item: Any, group: str, path: str, root: Mapping[str, Any]) -> Any:
    if isinstance(item, dict) and "_target_" in item:
        return build(item, path, root=root)
    (name, settings), *more = item.items() if isinstance(item, dict) and item else [(item, {})]
    if more or name not in components(group) or not isinstance(settings, dict):
        raise UserError(f"{path}: {name}: no such {group}; {nearest(str(name), components(group))}")
    key = "the item of a list"
    whole = OmegaConf.create({**root, key: _stated(group, name) | settings})
    return build(cast(dict[str, Any], OmegaConf.to_container(whole[key], resolve=True)), f"{path}.{name}", root=root)


# Fields that hold components say of which role in their metadata: a list of them is a "group", one alone a "component".
HOLDERS = {"group": _listed, "component": _single}


def buildable(role: str) -> dict[str, Any]:
    """The components of a role that need no further settings, by name."""
    built = {}
    for name in components(role):
        try:
            built[name] = build({key: value for key, value in _stated(role, name).items() if key != "defaults"}, role)
        except UserError:  # an alias, or one that needs more
            continue
    return built


def _stated(group: str, name: str) -> dict[str, Any]:
    """What the yaml file of a component says."""
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(config_dir() / group / f"{name}.yaml")))


def _writable(node: Any) -> Any:
    """Let values be merged into the schema of a frozen dataclass, and into the dataclasses inside."""
    OmegaConf.set_readonly(node, None)
    for key in node if isinstance(node, DictConfig) else ():
        child = node._get_node(key)
        if isinstance(child, DictConfig | ListConfig):
            _writable(child)
    return node
