"""Imports point one way, and torch and Hydra stay in their rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "qprune_cli"
LEAVES = {"errors", "scores", "types"}
# Who may import whom, below qprune_cli; every room may import itself unless it is a role (siblings are strangers).
ALLOWED = {
    "errors": set(),
    "types": set(),
    "scores": {"types"},
    "catalog": {"errors"},
    "device": {"errors"},
    "problem": LEAVES,
    "program": LEAVES | {"problem"},
    "structure": LEAVES | {"program"},
    "evaluate": LEAVES | {"structure"},
    "data": LEAVES | {"home"},
    "model": LEAVES | {"catalog"},
    "scorer": LEAVES | {"problem", "program", "structure"},
    "solver": LEAVES | {"problem"},
    "search": LEAVES | {"problem"},
    "refine": LEAVES | {"problem", "search"},
    "compensate": LEAVES | {"evaluate", "structure"},
    "roles": LEAVES | {"problem", "search", "train"},
    "record": LEAVES | {"problem", "evaluate", "search"},
    "train": LEAVES | {"evaluate"},
    "baselines": LEAVES,
    "beside": LEAVES | {"cache", "evaluate", "plan", "problem", "selection", "structure"},
    "finetune": LEAVES | {"train"},
    "finetuning": LEAVES | {"cache", "evaluate", "record", "roles", "structure", "train"},
    "transfer": LEAVES | {"evaluate", "structure", "train"},
    "cache": LEAVES | {"clock", "home", "model", "structure"},
    "compose": {"errors", "catalog", "record", "sweep"},
    "sweep": {"compare", "errors", "record", "report"},
    "compare": LEAVES | {"evaluate", "record"},
    "report": LEAVES | {"catalog", "compare", "evaluate", "record"},
    "clock": set(),
    "home": set(),
    "plan": LEAVES | {"compose", "device", "evaluate", "model", "problem", "record", "roles", "structure", "train"},
    "target": LEAVES | {"plan", "problem", "structure"},
    "selection": LEAVES | {"cache", "evaluate", "plan", "problem", "search"},
    "use": LEAVES | {"compose", "data", "device", "evaluate", "model", "plan", "record", "structure"},
    "api": LEAVES | {"catalog", "clock", "compose", "data", "plan", "pruning", "record", "structure"},
    "pruning": LEAVES
    | {"beside", "cache", "clock", "compensate", "evaluate", "finetuning", "plan", "problem", "record"}
    | {"roles", "search", "selection", "structure", "target"},
    "pipeline": LEAVES | {"clock", "device", "evaluate", "model", "plan", "problem", "pruning", "record", "report", "structure", "target"},
    "tune": LEAVES | {"compose", "device", "evaluate", "pipeline", "plan", "record", "sweep", "use"},
    "cli": {"errors", "cache", "catalog", "compare", "compose", "data", "pipeline", "plan", "report", "tune", "use"},
    "__main__": {"cli"},
    "__init__": {"api", "structure", "use"},
}
MACHINERY = {
    "data": {"batches", "cache", "camera", "check", "crops", "download", "fetch", "files", "idx", "image", "labelled", "mat", "memory"}
    | {"resize", "sharing"},
    "model": {"checkpoint", "classifier", "foreign", "padding"},
    "scorer": {"programs"},
    "solver": set(),
    "refine": set(),
    "compensate": {"refit"},
    "finetune": set(),
    "baselines": set(),
    "transfer": set(),
}
NUMPY_ONLY = ("problem", "program", "search", "solver", "refine")


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found += [node.module or ""] + [f"{node.module}.{alias.name}" for alias in node.names]
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "qprune_cli" or len(parts) < 2:
            continue
        other = parts[1]
        if other == own and path.stem not in MACHINERY.get(own, {path.stem}):
            assert len(parts) < 3 or parts[2] in MACHINERY[own], f"{path}: siblings are strangers, but it imports {name}"
        elif other != own and (PACKAGE / other).exists() | (PACKAGE / f"{other}.py").exists():
            assert other in ALLOWED[own], f"{path}: {own} may not import {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_torch_and_hydra_stay_in_their_rooms(path):
    roots = {name.split(".")[0] for name in imports(path)}
    if room(path) in NUMPY_ONLY or room(path) in {"types", "scores", "errors", "catalog", "cli", "compare", "compose", "report"}:
        assert "torch" not in roots
    if room(path) != "compose":
        assert "hydra" not in roots
    if room(path) != "tune":
        assert "optuna" not in roots
    if room(path) not in {"problem", "program", "solver"}:
        assert not roots & {"dimod", "dwave", "neal", "pyscipopt"}


@pytest.mark.parametrize("arguments", [["--help"], ["list"]])
def test_help_and_list_import_neither_torch_nor_hydra(arguments):
    program = (
        "import sys; from qprune_cli import cli; sys.argv = ['qprune', *sys.argv[1:]]\n"
        "try: cli.main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'hydra', 'numpy'} & set(sys.modules), 'a heavy import'"
    )
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True)
