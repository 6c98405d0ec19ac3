"""The words that the shell may offer behind a command come from its parser."""

import pytest

from qprune_cli.cache.listing import listing
from qprune_cli.cli import COMMANDS, command
from qprune_cli.errors import UserError
from qprune_cli.fetch.fetch import NAMES
from qprune_cli.places import roles
from qprune_cli.use.apply import Settings
from qprune_cli.use.export import FORMATS


def values(name):
    return {word for word in command(name).words() if not word.startswith("-")}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_part_of_the_help_and_says_what_may_follow(name):
    module = command(name)
    assert all(line.startswith(f"  qprune {name} ") for line in module.HELP.splitlines()) and module.HELP.endswith("\n")
    assert hasattr(module, "CONFIG") != hasattr(module, "words")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("apply", "--input --output --network --tile --overlap --jobs --device --overwrite"),
        ("export", "--format --output --overwrite"),
        ("report", "--output --overwrite"),
        ("compare", "--by --baseline --stage --metric --csv --markdown --overwrite"),
        ("data", "--noisy --clean --to --server"),
        ("cache", "--all --older-than"),
    ],
)
def test_options_are_offered(name, options):
    assert set(options.split()) <= set(command(name).words())


def test_values_are_those_that_the_commands_take(monkeypatch, tmp_path):
    monkeypatch.setenv("QPRUNE_CACHE", str(tmp_path))
    assert values("data") == {"check", "fetch", *NAMES}
    assert values("export") == set(FORMATS)
    assert values("list") == set(roles())
    kinds = values("cache") - {"list", "clear"}
    assert "nothing is kept" in listing(sorted(kinds))
    with pytest.raises(UserError, match=f"Valid: {', '.join(sorted(kinds))}$"):
        listing(["nothing"])


def test_settings_of_apply_have_an_option_each():
    options = {word.removeprefix("--") for word in command("apply").words()}
    assert set(Settings.__dataclass_fields__) <= options
