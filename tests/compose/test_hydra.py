"""What qprune relies on of Hydra, most of it internal: a new version is tried by running these tests."""

import re
import sys
from importlib.metadata import version
from inspect import signature
from pathlib import Path

import hydra
import pytest
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import OverrideParseException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext

from qprune_cli.compose.hydra import (
    IntervalSweep,
    RangeSweep,
    argument_parser,
    ask,
    changes_a_value,
    choices,
    choices_of_this_job,
    compose,
    groups,
    is_sweep,
    jobs_of,
    launcher_settings,
    launching,
    options,
    parse,
    session,
    swept_values,
    without_hydra,
)
from qprune_cli.errors import UserError
from tests.test_imports import FILES, PACKAGE, imports


def test_no_other_file_imports_hydra():
    for path in FILES:
        if path != PACKAGE / "compose" / "hydra.py":
            assert "hydra" not in {name.split(".")[0] for name in imports(path)}, path


def test_the_installed_version_is_the_one_that_constraints_pin():
    pins = (Path(__file__).parents[2] / "constraints.txt").read_text()
    assert re.search(r"^hydra-core==(.+)$", pins, re.M)[1] == version("hydra-core")


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (hydra.initialize_config_dir, ["config_dir", "version_base"]),
        (hydra.compose, ["config_name", "overrides", "return_hydra_config"]),
        (hydra.main, ["config_path", "config_name", "version_base"]),
        (Hydra.create_main_hydra2, ["task_name", "config_search_path"]),
        (Hydra.compose_config, ["config_name", "overrides", "run_mode"]),
        (create_config_search_path, ["search_path_dir"]),
        (ConfigSearchPathImpl.prepend, ["provider", "path"]),
        (Callbacks, ["config"]),
        (HydraContext, ["config_loader", "callbacks"]),
        (Plugins.instantiate_launcher, ["hydra_context", "task_function", "config"]),
        (Launcher.launch, ["job_overrides", "initial_job_idx"]),
        (BasicSweeper.split_arguments, ["overrides", "max_batch_size"]),
        (OverridesParser.create, ["config_loader"]),
        (OverrideParseException, ["override"]),
    ],
)
def test_signatures_are_those_that_are_called(function, parameters):
    assert [name for name in signature(function).parameters if name in parameters] == parameters


def test_flags_are_read_around_overrides():
    arguments = argument_parser().parse_intermixed_args(["seed=1", "-m", "--config-dir", "x", "floor=2", "--cfg", "job"])
    assert (arguments.overrides, arguments.multirun, arguments.config_dir, arguments.cfg) == (["seed=1", "floor=2"], True, "x", "job")
    flags = (arguments.help, arguments.hydra_help, arguments.shell_completion, arguments.info, arguments.config_name, arguments.config_path)
    assert not any(flags)


def test_settings_carry_the_choices_and_the_section_of_hydra():
    with session():
        settings = compose("run", ["solver=greedy", "experiment=ablation", "scale=tiny"])
        assert choices(settings)["solver"] == "greedy" and "hydra" in settings and "hydra" not in without_hydra(settings)
        assert is_sweep(settings) and "seed" in swept_values(settings)
        assert launcher_settings(settings)[0] == "basic"
        assert not is_sweep(compose("run", []))


def test_groups_and_their_options_can_be_asked_for():
    with session():
        assert {"solver", "scorer", "experiment"} <= groups()
        assert "greedy" in options("solver") and "basic" in options("hydra/launcher")


def test_overrides_say_what_they_are():
    with session():
        plain, added, deleted, packed, listed, span, numbers, pattern = parse(
            ["seed=1", "+a.b=2", "~tune.space", "data@x.y=digits", "seed=1,2", "f=interval(0,1)", "g=range(1,4)", "solver=glob(greedy_*)"]
        )
    assert (plain.key_or_group, plain.value(), plain.input_line) == ("seed", 1, "seed=1")
    assert changes_a_value(plain) and changes_a_value(listed) and not changes_a_value(added)
    assert added.is_add() and not added.is_force_add() and added.get_key_element() == "+a.b"
    assert deleted.is_delete() and packed.package == "x.y"
    assert not plain.is_sweep_override() and all(one.is_sweep_override() for one in (listed, span, numbers, pattern))
    assert isinstance(span.value(), IntervalSweep) and (span.value().start, span.value().end) == (0, 1)
    assert isinstance(numbers.value(), RangeSweep) and list(numbers.value().range()) == [1, 2, 3]
    assert listed.is_choice_sweep() and list(listed.sweep_string_iterator()) == ["1", "2"]
    with session():
        assert "greedy_l1" in set(pattern.sweep_string_iterator())


def test_the_first_list_changes_slowest():
    with session():
        assert jobs_of(parse(["a=1,2", "b=x,y", "c=3"])) == [[f"a={a}", f"b={b}", "c=3"] for a in (1, 2) for b in ("x", "y")]


def test_a_session_turns_errors_into_one_sentence_and_leaves_nothing_behind():
    with pytest.raises(UserError, match=r"^seed=\[1: cannot be read as an override"), session():
        parse(["seed=[1"])
    with pytest.raises(UserError, match=r"^hydra\.job\.num=x.*: a value of another kind is needed there$"), session():
        compose("run", ["hydra.job.num=x"])
    with pytest.raises(UserError, match=r"for a sweep over a list of values add -m$"), session():
        compose("run", ["seed=1,2"])
    assert not GlobalHydra.instance().is_initialized()


def test_a_launcher_runs_jobs_that_know_their_choices(tmp_path):
    words = [f"hydra.sweep.dir={tmp_path}"]
    with launching("run", words, None, lambda settings: (settings.seed, choices_of_this_job()["solver"])) as (settings, launch):
        assert launcher_settings(settings)[0] == "basic"
        assert [job.return_value for job in launch([["seed=3"], ["solver=greedy"]], 0)] == [(3, "swap"), (0, "greedy")]
    assert not GlobalHydra.instance().is_initialized()


def test_hydra_answers_questions_itself(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["qprune"])
    assert ask("run", ["--cfg", "hydra"]) == 0
    assert re.search(r"^ {4}name: launch$", capsys.readouterr().out, re.M)
