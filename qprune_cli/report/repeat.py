"""The command that makes a result again."""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from qprune_cli.places import config_dir, roles
from qprune_cli.record.read import LOADER, Unreadable, read_json

UNREPEATED = ("output_root",)  # where results go, which changes none
ALWAYS = ("sparsity",)  # named whatever the default is
QUOTED = set("{}[]()*?,:'\" ")


def repeat_command(config: Mapping[str, Any]) -> str:
    """The overrides that differ from the defaults, as a command; empty where a component does not ship with qprune.

    Example:
        >>> repeat_command({})
        ''
    """
    names = config.get("components")
    if not isinstance(names, dict) or not names:
        return ""
    whole, words = _yaml(config_dir() / "run.yaml"), []
    usual: dict[str, Any] = {}
    for one in whole.get("defaults", ()):
        usual |= one if isinstance(one, dict) else {}
    brought: dict[str, str] = {}
    for role, name in names.items():
        if not (config_dir() / role / f"{name}.yaml").is_file():
            return ""
        brought |= _brought(role, name)
    for role, name in names.items():
        if name != (brought.get(role) or usual.get(role)):
            words.append(f"{role}={name}")
    settings = {name: value for name, value in config.items() if name != "components"}
    base = {name: value for name, value in (_yaml(config_dir() / "base.yaml") | whole).items() if name not in ("defaults", "hydra")}
    for name, value in settings.items():
        expected = component(name, names[name]) if name in names else base.get(name)
        words += list(_changes(name, value, None if name in ALWAYS else _resolved(expected, config), config))
    return shlex.join(["qprune", "run", *(word for word in words if word.split("=")[0] not in UNREPEATED)])


def _yaml(path: Path) -> dict[str, Any]:
    entries = yaml.load(path.read_bytes(), LOADER)
    return entries if isinstance(entries, dict) else {}


def component(role: str, name: str) -> dict[str, Any]:
    """The settings of a component, those that it takes over from another one included."""
    entries = _yaml(config_dir() / role / f"{name}.yaml")
    above = [one for one in entries.get("defaults", ()) if isinstance(one, str) and one != "_self_"]
    settings: dict[str, Any] = {}
    for one in above:
        settings |= component(role, one)
    settings |= {key: value for key, value in entries.items() if key != "defaults"}
    for one in entries.get("defaults", ()):
        for key, value in one.items() if isinstance(one, dict) else ():
            group, _, field = key.partition("@")
            if field and group.startswith("/"):  # a component inside this one
                settings[field] = component(group.removeprefix("/"), value)
    return settings


def _brought(role: str, name: str) -> dict[str, str]:
    """Components of other roles that an alias brings along."""
    brought = {}
    for one in _yaml(config_dir() / role / f"{name}.yaml").get("defaults", ()):
        for key, value in one.items() if isinstance(one, dict) else ():
            brought[key.removeprefix("override /").split("@")[0]] = str(value)
    return brought


def _resolved(value: Any, config: Mapping[str, Any]) -> Any:
    """Fill in the values that follow others."""
    if isinstance(value, Mapping):
        return {key: _resolved(one, config) for key, one in value.items()}
    if not isinstance(value, str) or not value.startswith("${"):
        return value
    first, _, rest = value[2:-1].removeprefix("oc.select:").partition(",")
    node: Any = config
    for part in first.split("."):
        node = node.get(part, rest or None) if isinstance(node, Mapping) else rest or None
    return node


def _changes(name: str, value: Any, expected: Any, config: Mapping[str, Any]) -> Iterator[str]:
    """Words for what is not as expected."""
    if isinstance(value, Mapping) and isinstance(expected, Mapping) and expected:
        for key, one in value.items():
            yield from _changes(f"{name}.{key}", one, expected.get(key), config)
    elif value != expected and not _named(value, expected, config):
        yield f"{name}={_word(value)}"


def _named(value: Any, names: Any, config: Mapping[str, Any]) -> bool:
    """Whether components in a list are those that a list of names builds."""
    if not isinstance(value, list) or not isinstance(names, list) or len(value) != len(names):
        return False
    homes = [role for role in roles() if all((config_dir() / role / f"{name}.yaml").is_file() for name in names)]
    return any(value == [_resolved(component(role, name), config) for name in names] for role in homes)


def _word(value: Any) -> str:
    """A value as Hydra's grammar for overrides wants it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(key)}: {_word(one)}' for key, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_word, value))}]"
    if isinstance(value, str) and (not value or QUOTED & set(value)):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value)


def _key(value: Any) -> str:
    """A key of a mapping, which takes no quotes there."""
    return re.sub(r"([\\(),=: \t])", r"\\\1", str(value))


def typed(folder: Path) -> str:
    """A folder as one would type it from where one is."""
    try:
        return str(folder.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(folder.absolute())


def sweep_command(folder: Path) -> str:
    """What makes a sweep again, from sweep.json; empty where there is none, or it cannot be read."""
    try:
        record = read_json(folder, "sweep.json")
        jobs = [list(map(str, words)) for words in record["overrides"].values()]
        command = str(record["command"])
    except (Unreadable, LookupError, TypeError, AttributeError):
        return ""
    values: dict[str, dict[str, None]] = {}
    for words in jobs:
        for word in words:
            key, _, value = word.partition("=")
            if key in UNREPEATED:
                continue
            values.setdefault(key, {})[value] = None
    total = 1
    for those in values.values():
        total *= len(those)
    if total != len(jobs):
        return ""
    words = [f"{key}={','.join(those)}" for key, those in values.items()]
    return shlex.join(["qprune", command, "-m", *words, f"hydra.sweep.dir={_word(typed(folder))}"])
