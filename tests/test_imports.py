"""Imports point one way, and torch, Optuna and the solvers stay in their rooms; of Hydra see ``compose/test_hydra.py``."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "qprune_cli"
GROUND = {"atomic", "errors", "types", "scores", "places", "clock", "device"}  # what every room may know
# Who may import whom beside the ground; a room may import itself unless it holds components (siblings are strangers).
ALLOWED = {
    "problem": set(),
    "program": {"problem"},
    "search": {"problem"},
    "graph": set(),
    "surgery": {"graph"},
    "cost": {"graph", "surgery"},
    "calibration": {"graph"},
    "evaluate": {"calibration", "surgery"},
    "replay": {"graph", "surgery", "calibration", "evaluate"},
    "regression": {"calibration", "replay", "evaluate"},
    "embedding": {"graph", "cost", "calibration", "problem", "program"},
    "images": set(),
    "fetch": {"data", "images"},
    "weights": set(),
    "layers": {"weights"},
    "train": {"evaluate"},
    "data": {"images"},
    "model": {"layers", "weights"},
    "scorer": {"graph", "calibration", "replay", "embedding", "program"},
    "solver": {"problem"},
    "refine": {"problem", "search"},
    "compensate": {"graph", "surgery", "evaluate", "regression"},
    "finetune": {"train"},
    "baselines": set(),
    "transfer": {"surgery", "evaluate", "train"},
    "roles": {"problem", "search", "train"},
    "cache": {"weights"},
    "record": {"evaluate", "problem", "search", "weights"},
    "compare": {"evaluate", "record"},
    "report": {"compare", "evaluate", "record"},
    "sweep": {"compare", "record", "report"},
    "compose": {"record", "sweep"},
    "run": {"graph", "surgery", "cost", "calibration", "evaluate", "regression", "problem", "search", "weights", "train"}
    | {"roles", "cache", "record", "report", "compose"},
    "use": {"graph", "surgery", "cost", "evaluate", "images", "weights", "record", "compose", "run"},
    "tune": {"evaluate", "record", "sweep", "compose", "run", "use"},
    "api": {"graph", "images", "compose", "run"},
    "command": {"cache", "compare", "compose", "fetch", "report", "run", "tune", "use"},
    "cli": {"compose"},  # commands are imported by their names, each when it is asked for
    "__main__": {"cli"},
    "__init__": {"api", "graph", "surgery", "use"},
}
COMPONENTS = ("data", "model", "scorer", "solver", "refine", "compensate", "finetune", "baselines", "transfer")
NUMPY_ONLY = ("problem", "program", "search", "solver", "refine")
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> list[str]:
    """Full names of all modules and of what is taken out of them."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names += [node.module or ""] + [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_of(path: Path) -> set[str]:
    """The rooms that a file imports from."""
    parts = [name.split(".") for name in imports(path)]
    rooms = {room(other) for other in FILES}
    return {part[1] for part in parts if part[0] == "qprune_cli" and len(part) > 1 and part[1] in rooms}


def test_imports_point_one_way():
    tuple(TopologicalSorter(ALLOWED).static_order())  # raises where the table itself has a circle
    for path in FILES:
        own = room(path)
        known = GROUND if own in GROUND else GROUND | ALLOWED[own]
        for other in rooms_of(path) - known:
            assert other == own, f"{path}: {own} may not import {other}"
            assert own not in COMPONENTS, f"{path}: siblings are strangers"


def test_the_table_holds_no_arrow_that_is_not_there():
    drawn = {own: set[str]() for own in ALLOWED}
    for path in FILES:
        drawn.setdefault(room(path), set()).update(rooms_of(path))
    assert {own: others - drawn[own] for own, others in ALLOWED.items() if others - drawn[own]} == {}


def test_no_file_imports_itself_by_way_of_others():
    files = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in FILES}
    tuple(TopologicalSorter({name: files.keys() & set(imports(path)) for name, path in files.items()}).static_order())


def test_torch_optuna_and_solvers_stay_in_their_rooms():
    for path in FILES:
        roots = {name.split(".")[0] for name in imports(path)}
        if room(path) in {*NUMPY_ONLY, "types", "scores", "errors", "places", "cli", "command", "compare", "compose", "report"}:
            assert "torch" not in roots, path
        assert "optuna" not in roots or room(path) == "tune", path
        assert not roots & {"dimod", "dwave", "neal", "pyscipopt"} or room(path) in {"problem", "program", "solver"}, path


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--help"], ""),
        (["list"], ""),
        (["export", "--help"], ""),
        (["-sc", "query=bash"], "qprune "),
        (["-sc", "query=bash"], "qprune export "),
    ],
)
def test_help_list_and_completion_of_words_import_nothing_heavy(arguments, line):
    program = (
        "import sys; from qprune_cli import cli; sys.argv = ['qprune', *sys.argv[1:]]\n"
        "try: cli.main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'hydra', 'numpy', 'pandas'} & set(sys.modules), 'a heavy import'"
    )
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True, env=os.environ | {"COMP_LINE": line})


def test_a_command_imports_no_other_one():
    program = (
        "import sys; from qprune_cli import cli; cli.dispatch(['list', 'solver'])\n"
        "assert {name for name in sys.modules if name.startswith('qprune_cli.command.')} == {'qprune_cli.command.list'}"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
