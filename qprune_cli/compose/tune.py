"""From the arguments of `qprune tune` to what it searches."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from qprune_cli.compose.arguments import is_question, parsed_arguments
from qprune_cli.compose.choice import alias_scorer, checked_choices
from qprune_cli.compose.entry import entry
from qprune_cli.compose.hydra import Override, ask, choices, compose, groups, is_sweep, lines, parse, session
from qprune_cli.compose.keys import freed
from qprune_cli.compose.search import SECTION, Search
from qprune_cli.compose.space import Entry
from qprune_cli.errors import UserError, nearest

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
    if is_question(arguments):
        return ask(SECTION, [*flags, *arguments.overrides])
    search = compose_search(arguments.overrides, arguments.config_dir)
    if arguments.cfg:
        return ask(SECTION, [*flags, *_first_trial(search, arguments.overrides)])
    return start(search)


def _first_trial(search: Search, overrides: Sequence[str]) -> list[str]:
    """Overrides that compose the first trial, with the space that is searched in the section ``tune``."""
    space = ", ".join(f"{one.name}: '{one.text}'" for one in search.space)
    constants = ", ".join(word.replace("=", ": ", 1) for word in search.constants)
    about = [word for word in overrides if word.startswith(f"{SECTION}.") and not word.startswith(f"{SECTION}.space")]
    shown = f"+{SECTION}.space={{{', '.join(part for part in (space, constants) if part)}}}"
    return [*search.fixed(search.words(lambda one: one.values[0])), *about, f"~{SECTION}.space", shown]


def compose_search(overrides: Sequence[str], extra: str | None = None) -> Search:
    """Compose what is searched: the space of the config, and in its place what the overrides say.

    Args:
        overrides: in Hydra's grammar.
        extra: another folder of configs, searched first.

    Raises:
        UserError: unknown names, a value that cannot be parsed, an empty space, or one that would make trials incomparable.
    """
    with session():
        parsed = parse(freed(list(overrides)))
        about = [one for one in parsed if one.key_or_group.split(".")[0] == SECTION]
        swept = [one for one in parsed if one not in about and one.is_sweep_override()]
        given = [one for one in parsed if one not in about and not one.is_sweep_override()]
        _refuse_settings(parsed)
        choosing = checked_choices(given, extra)
        _refuse_unknown_settings(about, compose(SECTION, lines(choosing), extra).get(SECTION) or {})
        settings = compose(SECTION, lines([*choosing, *about]), extra)
        if is_sweep(settings):
            raise UserError(f"experiment={choices(settings)['experiment']}: is a sweep; a search takes none")
        section = cast(dict[str, Any], OmegaConf.to_container(settings.get(SECTION) or OmegaConf.create({})))
        roles = frozenset(groups()) - {"hydra"}
        fixed = {one.key_or_group: str(one.value()) for one in choosing}
        if scorer := alias_scorer(fixed.get("solver", ""), extra):
            fixed.setdefault("scorer", scorer)
        taken = {one.get_key_element().lstrip("+~") for one in (*swept, *given)} | fixed.keys()
        configured = parse(freed([_word(key, value) for key, value in (section.pop("space", None) or {}).items() if key not in taken]))
        entries = [entry(one) for one in [*configured, *swept] if one.is_sweep_override()]
        for one in [*swept, *configured]:
            _refuse_alone(one)
        checked_choices([one for each in entries for one in parse([each.word(value) for value in each.values])], extra)
    space = tuple(sorted(entries, key=lambda one: one.name not in roles))
    constants = lines(one for one in configured if not one.is_sweep_override())
    search = Search(space, tuple(lines(given)), tuple(constants), section, roles, _title(settings), extra)
    return _without_lost(search, {one.get_key_element().lstrip("+") for one in configured}, fixed)


def _title(settings: DictConfig) -> str:
    chosen = choices(settings)
    return str(chosen.get("experiment") or f"{chosen['data']}_{chosen['model']}")


def _without_lost(search: Search, configured: set[str], fixed: dict[str, str]) -> Search:
    """Take out of the config's space the settings of components that the command has replaced by ones without them."""
    roles = tuple(one for one in search.space if one.name in search.groups)
    kept: list[Entry] = []
    for one in search.space:
        lost = one.name in configured and one.name.split(".")[0] in fixed and one.name not in search.groups
        if not lost or one.name in search.setting_names(tuple(role.word(role.values[0]) for role in roles)):
            kept.append(one)
    if not kept:
        raise UserError("tune.space: nothing to search; give a setting several values, such as 'sparsity=interval(0.3, 0.8)'")
    return replace(search, space=tuple(kept))


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


def _refuse_unknown_settings(about: Sequence[Override], section: Any) -> None:
    """Refuse a setting that the section of the search does not have."""
    names = [f"{SECTION}.{name}" for name in section]
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
