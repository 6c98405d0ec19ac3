"""From the arguments of `qprune tune` to what it searches."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import OmegaConf

from qprune_cli.compose.entry import entry
from qprune_cli.compose.jobs import brought, freed, lines, parse, readable_errors, refuse_no_choice, search
from qprune_cli.compose.launch import ask_hydra, parsed_arguments
from qprune_cli.compose.search import SECTION, Search
from qprune_cli.compose.space import Entry
from qprune_cli.errors import UserError, nearest
from qprune_cli.places import config_dir

ALONE = {  # what cannot be searched, and why
    "data": "trials are judged on the same images",
    "seed": "it draws the images that trials are judged on, and a search over it chooses luck",
    "experiment": "it may change the images that trials are judged on",
    "model": "trials make the same network smaller",
    "refine": "it would tune masks on the images that trials are judged on; take what is found, and refine that with `qprune run`",
    "output_root": "a search has one folder",
}


def launch_search(argv: list[str], start: Callable[[Search], int]) -> int:
    """Do what the arguments ask for: a search, or one of Hydra's own questions.

    Args:
        argv: arguments behind the command, in Hydra's grammar.
        start: searches; gives the exit code.

    Raises:
        UserError: something in the arguments cannot be composed.
    """
    for flag in ("--from", "--resume"):
        if any(word.split("=")[0] == flag for word in argv):
            raise UserError(f"{flag}: a search goes on when the same command is given again; leave {flag} out")
    arguments, flags = parsed_arguments(argv)
    if arguments.multirun:
        raise UserError("--multirun: a search takes lists and intervals as they are; leave -m out")
    if arguments.config_name:
        raise UserError("--config-name: a search has its own settings; put yours into a folder for --config-dir")
    if arguments.help or arguments.hydra_help or arguments.shell_completion or arguments.info:
        return ask_hydra(SECTION, [*flags, *arguments.overrides])
    asked = asked_search(arguments.overrides, arguments.config_dir)
    if arguments.cfg:
        space = ", ".join(f"{one.name}: '{one.told}'" for one in asked.space)
        plain = ", ".join(word.replace("=", ": ", 1) for word in asked.quiet)
        own = [word for word in arguments.overrides if word.startswith("tune.") and not word.startswith("tune.space")]
        shown = f"+tune.space={{{', '.join(part for part in (space, plain) if part)}}}"
        return ask_hydra(SECTION, [*flags, *asked.fixed(asked.words(lambda one: one.values[0])), *own, "~tune.space", shown])
    return start(asked)


def asked_search(overrides: Sequence[str], extra: str | None = None) -> Search:
    """What is searched: the space of the config, and in its place what the overrides say.

    Args:
        overrides: in Hydra's grammar.
        extra: another folder of configs, searched first.

    Raises:
        UserError: unknown names, a value that cannot be parsed, an empty space, or one that would make trials incomparable.
    """
    with readable_errors(), initialize_config_dir(str(config_dir()), version_base="1.3"):
        parsed = parse(freed(list(overrides)))
        own = [one for one in parsed if one.key_or_group.split(".")[0] != SECTION]
        lists = [one for one in own if one.is_sweep_override()]
        given = [one for one in own if not one.is_sweep_override()]
        _refuse_settings(parsed)
        chosen = refuse_no_choice(given, extra)
        about = [one for one in parsed if one not in own]
        _refuse_unknown_settings(about, compose(SECTION, lines(chosen) + search(extra)).get(SECTION) or {})
        whole = compose(SECTION, lines([*chosen, *about]) + search(extra), return_hydra_config=True)
        if whole.hydra.mode is RunMode.MULTIRUN:
            raise UserError(f"experiment={whole.hydra.runtime.choices['experiment']}: is a sweep; a search takes none")
        section = cast(dict[str, Any], OmegaConf.to_container(whole.get(SECTION) or OmegaConf.create({})))
        roles = frozenset(GlobalHydra.instance().config_loader().list_groups("")) - {"hydra"}
        fixed = {one.key_or_group: str(one.value()) for one in chosen}
        if scorer := brought(fixed.get("solver", ""), extra):
            fixed.setdefault("scorer", scorer)
        taken = {one.get_key_element().lstrip("+~") for one in own} | fixed.keys()
        configured = parse(freed([_word(key, value) for key, value in (section.pop("space", None) or {}).items() if key not in taken]))
        entries = [entry(one) for one in [*configured, *lists] if one.is_sweep_override()]
        for one in [*lists, *configured]:
            _refuse_alone(one)
        refuse_no_choice([one for each in entries for one in parse([each.word(value) for value in each.values])], extra)
        quiet = lines(one for one in configured if not one.is_sweep_override())
        choices = whole.hydra.runtime.choices
        title = str(choices.get("experiment") or f"{choices['data']}_{choices['model']}")
    space = tuple(sorted(entries, key=lambda one: one.name not in roles))
    found = Search(space, tuple(lines(given)), tuple(quiet), section, roles, title, extra)
    return _without_lost(found, {one.get_key_element().lstrip("+") for one in configured}, fixed)


def _without_lost(found: Search, configured: set[str], fixed: dict[str, str]) -> Search:
    """Take out of the config's space the settings of components that the command has replaced by ones without them."""
    hosts = tuple(one for one in found.space if one.name in found.groups)
    kept: list[Entry] = []
    for one in found.space:
        lost = one.name in configured and one.name.split(".")[0] in fixed and one.name not in found.groups
        if not lost or one.name in found.known(tuple(role.word(role.values[0]) for role in hosts)):
            kept.append(one)
    if not kept:
        raise UserError("tune.space: nothing to search; give a setting several values, such as 'sparsity=interval(0.3, 0.8)'")
    return Search(tuple(kept), found.given, found.quiet, found.section, found.groups, found.title, found.extra)


def _refuse_settings(parsed: Sequence[Override]) -> None:
    """Refuse what belongs to Hydra's sweeps, and lists of what a search has one of."""
    for one in parsed:
        key = one.key_or_group
        if key.startswith("hydra"):
            raise UserError(f"{key}: trials are done one after another; start the same command beside this one, and both share the work")
        if key.startswith(f"{SECTION}.space") and not one.is_delete():
            raise UserError(f"{key}: give the settings themselves, such as 'sparsity=interval(0.3, 0.8)' or scorer=gram,hybrid")
        if key.split(".")[0] == SECTION and one.is_sweep_override():
            raise UserError(f"{one.input_line}: a search has one value of it; leave the others out")
        if sum(one.get_key_element().lstrip("+~") == other.get_key_element().lstrip("+~") for other in parsed) > 1:
            raise UserError(f"{one.input_line}: {key} is given twice; leave one of them out")


def _refuse_unknown_settings(about: Sequence[Override], known: Any) -> None:
    """Refuse a setting of the search that there is not."""
    names = [f"{SECTION}.{name}" for name in known]
    for one in about:
        if one.key_or_group not in (SECTION, *names):
            raise UserError(f"{one.key_or_group}: no such setting; {nearest(one.key_or_group, names)}")


def _refuse_alone(one: Override) -> None:
    """Refuse a setting that would make trials incomparable."""
    role = one.key_or_group.split(".")[0]
    if role in ALONE and not one.package and one.is_sweep_override():
        raise UserError(f"{one.input_line}: cannot be searched: {ALONE[role]}")


def _word(key: str, value: Any) -> str:
    """An entry of the config's space as an override."""
    plain = {None: "null", True: "true", False: "false"}
    return f"{key}={plain[value] if value is None or isinstance(value, bool) else value}"
